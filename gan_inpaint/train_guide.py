"""``python -m gan_inpaint.train_guide``: train a network that estimates holes, for a prior."""

from gan_inpaint.cli.train_guide import main

if __name__ == "__main__":
    main()
