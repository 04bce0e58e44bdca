"""An executor in Java that uses no code of this project, and how it is built."""
