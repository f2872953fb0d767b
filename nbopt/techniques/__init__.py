"""What a run is made of, one small file each."""
