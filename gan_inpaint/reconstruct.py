"""``python -m gan_inpaint.reconstruct``: fill holes by searching a prior's latent space."""

from gan_inpaint.cli.reconstruct import main

if __name__ == "__main__":
    main()
