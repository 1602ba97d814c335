"""Entry point of ``python -m gan_inpaint.app``; the work is in ``cli.app`` and ``web``."""

from gan_inpaint.cli.app import main

if __name__ == "__main__":
    main()
