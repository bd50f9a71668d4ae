/* platform.h: the few things that C99 has no words for: directories, mapped files and shared
 * libraries. */
#ifndef EDGECAP_PLATFORM_H
#define EDGECAP_PLATFORM_H

#include "core.h"

typedef enum ec_kind { EC_NOTHING, EC_FILE, EC_FOLDER, EC_OTHER } ec_kind;

/* What a path is, links not followed; `*size` of a file in bytes. */
ec_kind ec_path_kind(const char *path, int64_t *size);

/* Calls `each` for every name in a folder but . and ..; stops where it answers false. False where
 * the folder cannot be read. */
bool ec_each_name(const char *folder, bool (*each)(void *user, const char *name), void *user);

/* Maps a file into memory, to be read; false where that fails, or the system maps no files. */
bool ec_map_file(const char *path, const void **data, size_t *size);
void ec_unmap_file(const void *data, size_t size); /* NULL is allowed */

/* A shared library, or NULL; nothing is printed. `path` NULL: the program itself. */
void *ec_library_open(const char *path);
/* Puts the address of a symbol into a function pointer; false, and NULL, where there is none. */
bool ec_library_find(void *library, const char *symbol, void *function);
void ec_library_close(void *library);

#endif
