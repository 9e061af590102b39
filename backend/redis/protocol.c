/* The scripts, put together from their parts. Each part is in the program once.
 * A call makes all functions of its script anew, so what is called most often
 * has the shortest scripts (backend/redis/begin.lua). */
#include "backend/redis/internal.h"
#include "protocol.lua.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 20

enum {
	SCRIPT_LOCKS,
	SCRIPT_MOUNTS,
	SCRIPT_LOOK,
	SCRIPT_VALUES,
	SCRIPT_OPEN,
	SCRIPT_FILEIO,
	SCRIPT_RANGES,
	SCRIPT_FOLDERS,
	SCRIPT_NAMES
};

/* What stands between rare_begin and rare_end is made at the first need. */
static const char *const parts[][PARTS_MAX] = {
	[SCRIPT_LOCKS] = { begin_lua, keys_lua, keep_lua, grants_lua, rare_begin_lua, extents_lua, inodes_lua,
			   sessions_lua, rare_end_lua, holding_lua, locks_lua, dispatch_lua },
	[SCRIPT_MOUNTS] = { begin_lua, keys_lua, keep_lua, grants_lua, rare_begin_lua, extents_lua, inodes_lua,
			    sessions_lua, rare_end_lua, mounts_lua, dispatch_lua },
	[SCRIPT_LOOK] = { begin_lua, keys_lua, keep_lua, listing_lua, look_lua, dispatch_lua },
	[SCRIPT_VALUES] = { begin_lua, keys_lua, keep_lua, holding_lua, bytes_lua, values_lua, dispatch_lua },
	[SCRIPT_OPEN] = { begin_lua, keys_lua, keep_lua, grants_lua, bytes_lua, inodes_lua, rare_begin_lua, extents_lua,
			  sessions_lua, rare_end_lua, filecall_lua, open_lua, dispatch_lua },
	[SCRIPT_FILEIO] = { begin_lua, keys_lua, keep_lua, bytes_lua, filecall_lua, fileio_lua, dispatch_lua },
	[SCRIPT_RANGES] = { begin_lua, keys_lua, keep_lua, grants_lua, extents_lua, rare_begin_lua, inodes_lua,
			    sessions_lua, rare_end_lua, filecall_lua, ranges_lua, dispatch_lua },
	[SCRIPT_NAMES] = { begin_lua, keys_lua, keep_lua, grants_lua, inodes_lua, rare_begin_lua, extents_lua,
			   sessions_lua, rare_end_lua, listing_lua, folders_lua, filecall_lua, paths_lua, gate_lua,
			   dispatch_lua },
	[SCRIPT_FOLDERS] = { begin_lua, keys_lua, keep_lua, grants_lua, inodes_lua, rare_begin_lua, extents_lua,
			     sessions_lua, rare_end_lua, listing_lua, folders_lua, holding_lua, bytes_lua, removal_lua,
			     gate_lua, dispatch_lua },
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
	static const struct {
		unsigned script;
		const char *ops; /* each with blanks around it */
	} all[] = {
		{ SCRIPT_LOCKS, " acq rel conv note nudge poke claim break endw " },
		{ SCRIPT_MOUNTS, " hello beat sync bye " },
		{ SCRIPT_LOOK, " stat view list " },
		{ SCRIPT_VALUES, " rd wr trunc sync_value " },
		{ SCRIPT_OPEN, " fopen fclose fstatn " },
		{ SCRIPT_FILEIO, " fread fwrite ftrunc fsync fstat fsetattr " },
		{ SCRIPT_RANGES, " rset rcancel rtest rdrop " },
		{ SCRIPT_FOLDERS, " nsget nsmk nsrm nschmod nsmv rm mv " },
	};
	char word[24];
	size_t i;

	snprintf(word, sizeof(word), " %s ", op);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (strstr(all[i].ops, word))
			return all[i].script;
	}
	return SCRIPT_NAMES;
}
