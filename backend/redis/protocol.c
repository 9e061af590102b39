/* The scripts, put together from their parts. Each part is in the program once.
 * A call makes all functions of its script anew, so what is called most often
 * has the shortest scripts (backend/redis/begin.lua). */
#include "backend/redis/internal.h"
#include "protocol.lua.h"

#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 16

enum { SCRIPT_LOCKS, SCRIPT_NAMES, SCRIPT_FILES };

static const char *const parts[][PARTS_MAX] = {
	[SCRIPT_LOCKS] = { begin_lua, keys_lua, grants_lua, rare_begin_lua, extents_lua, inodes_lua, sessions_lua,
			   rare_end_lua, holding_lua, locks_lua, dispatch_lua },
	[SCRIPT_NAMES] = { begin_lua, keys_lua, grants_lua, extents_lua, inodes_lua, sessions_lua, holding_lua,
			   folders_lua, mounts_lua, values_lua, look_lua, dispatch_lua },
	[SCRIPT_FILES] = { begin_lua, keys_lua, grants_lua, extents_lua, inodes_lua, sessions_lua, folders_lua,
			   files_lua, ranges_lua, dispatch_lua },
};

#define SCRIPTS (sizeof(parts) / sizeof(parts[0]))
_Static_assert(SCRIPTS <= WIRE_SCRIPTS, "wire.h has room for them");

static char *join(const char *const *part)
{
	size_t len = 1, i;
	char *text, *end;

	for (i = 0; part[i]; i++)
		len += strlen(part[i]);
	text = malloc(len);
	for (i = 0, end = text; text && part[i]; i++)
		end = stpcpy(end, part[i]);
	return text;
}

const char *const *protocol_scripts(void)
{
	static const char *scripts[SCRIPTS + 1];
	size_t i;

	for (i = 0; i < SCRIPTS; i++) {
		if (!scripts[i])
			scripts[i] = join(parts[i]);
		if (!scripts[i])
			return NULL;
	}
	return scripts;
}

unsigned protocol_script(const char *op)
{
	static const char *const locks[] = { "acq", "rel", "conv", "poke", "claim", "break", "endw" };
	static const char *const files[] = { "fopen",	 "fclose",   "fread",	  "fwrite",  "ftrunc",
					     "fsync",	 "fstat",    "fstatn",	  "funlink", "frename",
					     "flink",	 "fsymlink", "freadlink", "flist",   "fsetattrn",
					     "fsetattr", "rset",     "rcancel",	  "rtest",   "rdrop" };
	size_t i;

	for (i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
		if (strcmp(locks[i], op) == 0)
			return SCRIPT_LOCKS;
	}
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(files[i], op) == 0)
			return SCRIPT_FILES;
	}
	return SCRIPT_NAMES;
}
