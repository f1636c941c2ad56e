"""What all pages share: the session, the header, widgets, figures, tables, tokens."""
