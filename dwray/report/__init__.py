"""What a person looks at: the live display, the tables in the terminal, Markdown and HTML."""
