"""embed.py HEADER.h SCRIPT.lua...: each text as a C string, one line of it a line, named as its file is."""
import os
import sys

header, *sources = sys.argv[1:]
with open(header, "w", encoding="ascii") as out:
    for source in sources:
        out.write(f"static const char {os.path.basename(source).replace('.', '_')}[] =\n")
        with open(source, encoding="ascii") as f:
            for line in f:
                text = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
                out.write(f'\t"{text}\\n"\n')
        out.write("\t;\n")
