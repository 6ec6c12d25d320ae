"""What outlives one request and is shared by many: token buckets and circuits."""
