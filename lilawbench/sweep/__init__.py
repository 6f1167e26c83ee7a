"""Many runs from one command: plan.py says which, launch.py hands them to a launcher, conclude.py what came of them."""
