"""What every room uses: the one error for wrong input, files written in one move, HTML pages."""
