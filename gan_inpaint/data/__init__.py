"""Images, masks and photographs: from files to tensors and back."""
