"""What staff do to the books: corrections, exports, comparison with the provider's bill."""

from __future__ import annotations
