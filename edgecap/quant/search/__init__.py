"""Which layers must stay wider for the captions to hold: `edgecap export --int8 --max-drop`."""
