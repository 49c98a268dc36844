"""JSON that is not whole or not right: read as it comes, leniently, and closed where it breaks off."""
