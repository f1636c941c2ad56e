"""Work on threads that pages look at; imports nothing else of the app."""
