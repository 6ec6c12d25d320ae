"""What outlives one request and is shared by many: token buckets, circuits, retry budgets, and how targets are."""
