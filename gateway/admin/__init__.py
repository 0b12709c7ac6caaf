"""What staff may do, one module for each noun; every change leaves an audit entry."""
