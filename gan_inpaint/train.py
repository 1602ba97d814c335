"""``python -m gan_inpaint.train``: train a DCGAN and export it as a prior."""

from gan_inpaint.cli.train import main

if __name__ == "__main__":
    main()
