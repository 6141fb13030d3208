"""Tables, figures, the page, Markdown and the terminal: all read one `Summary`, none computes."""
