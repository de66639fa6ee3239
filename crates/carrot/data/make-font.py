#!/usr/bin/env python3
"""Writes dejavu-sans.ttf, the letters of `carrot replay --plot`, beside this script.

    make-font.py DejaVuSans.ttf

The argument is the font as DejaVu 2.37 has it (Debian: fonts-dejavu-core). What is kept are Basic Latin, Latin-1 and
the few signs that numbers need; hints, kerning and ligatures are left out. Needs fontTools. Nothing in the build runs
this: the file it wrote is committed, under LICENSE-DEJAVU.
"""

import os
import sys

from fontTools import subset

KEPT = [*range(0x20, 0x7F), *range(0xA0, 0x100), 0x2013, 0x2014, 0x2026, 0x2030, 0x03BC]

options = subset.Options(
    hinting=False,
    layout_features=[],
    name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14],
)
options.drop_tables += ["FFTM", "GDEF", "GPOS", "GSUB", "kern"]

font = subset.load_font(sys.argv[1], options)
font.recalcTimestamp = False
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=KEPT)
subsetter.subset(font)
here = os.path.dirname(os.path.abspath(__file__))
subset.save_font(font, os.path.join(here, "dejavu-sans.ttf"), options)
