"""Errors that are the user's to mend, told in one line."""


class UserError(Exception):
    """Something in the input, the configuration or the machine must change before the command can work.

    The message names the file, line or key, says what was found, and what to do. The command line prints it
    without a traceback and exits with status 2.
    """
