"""embed.py SCRIPT.lua HEADER.h NAME: a text as a C string, one line of it a line."""
import sys

source, header, name = sys.argv[1:]
with open(source, encoding="ascii") as f, open(header, "w", encoding="ascii") as out:
    out.write(f"static const char {name}[] =\n")
    for line in f:
        text = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
        out.write(f'\t"{text}\\n"\n')
    out.write("\t;\n")
