/* What a name may be. */
#include "backend/backend.h"

#include <errno.h>
#include <string.h>

bool lk_component_valid(const char *component)
{
	const unsigned char *p = (const unsigned char *)component;
	size_t len = strlen(component);

	if (len == 0 || len > 255 || *p == '.')
		return false;
	for (; *p; p++) {
		if (*p < 0x20 || *p == 0x7f || *p == '/')
			return false;
	}
	return true;
}

int lk_name_check(const char *name)
{
	char part[256];
	size_t len;

	if (strlen(name) > LK_NAME_MAX)
		return -ENAMETOOLONG;
	for (;;) {
		len = strcspn(name, "/");
		if (len > 255)
			return -ENAMETOOLONG;
		memcpy(part, name, len);
		part[len] = '\0';
		if (!lk_component_valid(part))
			return -ENOENT;
		if (!name[len])
			return 0;
		name += len + 1;
	}
}
