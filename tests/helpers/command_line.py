"""What a command says when it cannot go on."""


def one_error_line(done):
    """The one line on standard error with which a command has ended, with status 1 and without a traceback."""
    assert done.exit_code == 1, done.output
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr
