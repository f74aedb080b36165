"""How well heads are found in single images: fields with labels, methods, figures, a page."""
