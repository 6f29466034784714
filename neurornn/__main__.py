"""``python -m neurornn``."""

from neurornn.cli import main

main()
