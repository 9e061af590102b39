function rare()

