"""Writes docs/evidence.md and its figures anew from the committed result files in benchmarks/results/.

python benchmarks/evidence_page.py
"""

from evidence.document import PAGE, write_page

if __name__ == "__main__":
    write_page()
    print(f"written: docs/{PAGE.name}")
