"""What every command needs of the machine: files, random draws, signals, memory, precision."""
