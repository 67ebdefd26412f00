"""What a page shows, one file a subject: each makes a `Section` of `Material`."""
