"""The demo: a tiny EXAONE 4 checkpoint of our own, and the conversations it knows by heart."""
