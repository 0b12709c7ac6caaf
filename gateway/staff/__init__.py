"""People who operate Headgate: accounts, sessions, invitations."""
