"""Many runs of one shape, whose steps are done at once."""
