"""`python -m rest_verl`: the command `rest-verl` of one interpreter."""

from rest_verl.cli import app

if __name__ == "__main__":
    app(prog_name="rest-verl")
