#!/usr/bin/env python3
"""Writes chars.db, the demo's table of Unicode characters, beside this script.

    code  upper-case hex of the code point, at least four digits: 1F955
    name  the character's name: CARROT

The same Python and SQLite write the same bytes again, so that a changed file means changed data. Nothing in the
build runs this: the file it wrote is committed, under LICENSE-UNICODE, since the names come from the Unicode
Character Database.
"""

import os
import sqlite3
import sys
import unicodedata

# Blocks that a reader may want to look up by hand, as (first, last, block). Ideographs and Hangul syllables are left
# out: their names are made from their code points, so a table of them tells nothing.
BLOCKS = [
    (0x0020, 0x007F, "Basic Latin"),
    (0x0080, 0x00FF, "Latin-1 Supplement"),
    (0x0100, 0x017F, "Latin Extended-A"),
    (0x0180, 0x024F, "Latin Extended-B"),
    (0x0250, 0x02AF, "IPA Extensions"),
    (0x02B0, 0x02FF, "Spacing Modifier Letters"),
    (0x0300, 0x036F, "Combining Diacritical Marks"),
    (0x0370, 0x03FF, "Greek and Coptic"),
    (0x0400, 0x04FF, "Cyrillic"),
    (0x0500, 0x052F, "Cyrillic Supplement"),
    (0x0530, 0x058F, "Armenian"),
    (0x0590, 0x05FF, "Hebrew"),
    (0x10A0, 0x10FF, "Georgian"),
    (0x16A0, 0x16FF, "Runic"),
    (0x1E00, 0x1EFF, "Latin Extended Additional"),
    (0x1F00, 0x1FFF, "Greek Extended"),
    (0x2000, 0x206F, "General Punctuation"),
    (0x2070, 0x209F, "Superscripts and Subscripts"),
    (0x20A0, 0x20CF, "Currency Symbols"),
    (0x2100, 0x214F, "Letterlike Symbols"),
    (0x2150, 0x218F, "Number Forms"),
    (0x2190, 0x21FF, "Arrows"),
    (0x2200, 0x22FF, "Mathematical Operators"),
    (0x2300, 0x23FF, "Miscellaneous Technical"),
    (0x2400, 0x243F, "Control Pictures"),
    (0x2460, 0x24FF, "Enclosed Alphanumerics"),
    (0x2500, 0x257F, "Box Drawing"),
    (0x2580, 0x259F, "Block Elements"),
    (0x25A0, 0x25FF, "Geometric Shapes"),
    (0x2600, 0x26FF, "Miscellaneous Symbols"),
    (0x2700, 0x27BF, "Dingbats"),
    (0x2800, 0x28FF, "Braille Patterns"),
    (0x2900, 0x297F, "Supplemental Arrows-B"),
    (0x2A00, 0x2AFF, "Supplemental Mathematical Operators"),
    (0x2B00, 0x2BFF, "Miscellaneous Symbols and Arrows"),
    (0x3040, 0x309F, "Hiragana"),
    (0x30A0, 0x30FF, "Katakana"),
    (0x1F000, 0x1F02F, "Mahjong Tiles"),
    (0x1F0A0, 0x1F0FF, "Playing Cards"),
    (0x1F300, 0x1F5FF, "Miscellaneous Symbols and Pictographs"),
    (0x1F600, 0x1F64F, "Emoticons"),
    (0x1F680, 0x1F6FF, "Transport and Map Symbols"),
    (0x1F900, 0x1F9FF, "Supplemental Symbols and Pictographs"),
    (0x1FA70, 0x1FAFF, "Symbols and Pictographs Extended-A"),
]

AT_MOST_BYTES = 400 * 1024


def rows():
    """Every named character of BLOCKS; unassigned and control ones have no name and are left out."""
    for first, last, _ in BLOCKS:
        for point in range(first, last + 1):
            name = unicodedata.name(chr(point), None)
            if name is not None:
                yield f"{point:04X}", name


def write(path):
    """Makes the file anew. Rows go in by key, so that its pages are full and in one order."""
    table = sorted(rows())
    if os.path.exists(path):
        os.remove(path)
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("pragma page_size = 4096")
    file.execute("pragma journal_mode = delete")
    file.execute("create table chars(code text primary key, name text not null) without rowid")
    file.execute("begin")
    file.executemany("insert into chars values (?, ?)", table)
    file.execute("commit")
    file.execute("vacuum")
    file.close()
    return len(table)


def check(path):
    """What the demo and its README rely on."""
    file = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    assert file.execute("pragma integrity_check").fetchone() == ("ok",)
    assert file.execute("pragma journal_mode").fetchone() == ("delete",)
    assert file.execute("select name from chars where code = '1F955'").fetchone() == ("CARROT",)
    file.close()
    assert os.path.getsize(path) <= AT_MOST_BYTES, f"{os.path.getsize(path)} bytes"


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chars.db")
    count = write(path)
    check(path)
    print(f"{count} characters of Unicode {unicodedata.unidata_version}, {os.path.getsize(path)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
