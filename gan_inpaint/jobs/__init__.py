"""Jobs: their directories, what identifies them, how they run and resume, what they leave."""
