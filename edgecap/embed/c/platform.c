/* platform.c: see platform.h. POSIX, and Windows where it differs. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
/* Where pointers have 32 bits, numbers of files and places in folders may need more. */
#if defined(__SIZEOF_POINTER__) && __SIZEOF_POINTER__ == 4
#define _FILE_OFFSET_BITS 64
#endif
#endif

#include "platform.h"

#include <string.h>

#if defined(_WIN32)

#include <stdio.h>
#include <windows.h>

ec_kind ec_path_kind(const char *path, int64_t *size)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    if (!GetFileAttributesExA(path, GetFileExInfoStandard, &data)) {
        return EC_NOTHING;
    }
    *size = (int64_t)((uint64_t)data.nFileSizeHigh << 32 | data.nFileSizeLow);
    if (data.dwFileAttributes & (FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DEVICE)) {
        return EC_OTHER;
    }
    return data.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? EC_FOLDER : EC_FILE;
}

bool ec_each_name(const char *folder, bool (*each)(void *user, const char *name), void *user)
{
    WIN32_FIND_DATAA data;
    char pattern[MAX_PATH];
    HANDLE found;
    if (snprintf(pattern, sizeof pattern, "%s\\*", folder) >= (int)sizeof pattern) {
        return false;
    }
    found = FindFirstFileA(pattern, &data);
    if (found == INVALID_HANDLE_VALUE) {
        return false;
    }
    do {
        if (strcmp(data.cFileName, ".") != 0 && strcmp(data.cFileName, "..") != 0 &&
            !each(user, data.cFileName)) {
            break;
        }
    } while (FindNextFileA(found, &data));
    FindClose(found);
    return true;
}

bool ec_map_file(const char *path, const void **data, size_t *size)
{
    HANDLE file = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    HANDLE mapping = NULL;
    LARGE_INTEGER length;
    *data = NULL;
    if (file != INVALID_HANDLE_VALUE && GetFileSizeEx(file, &length)) {
        *size = (size_t)length.QuadPart;
        mapping = CreateFileMappingA(file, NULL, PAGE_READONLY, 0, 0, NULL);
    }
    if (mapping != NULL) {
        *data = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
        CloseHandle(mapping);
    }
    if (file != INVALID_HANDLE_VALUE) {
        CloseHandle(file);
    }
    return *data != NULL;
}

void ec_unmap_file(const void *data, size_t size)
{
    (void)size;
    if (data != NULL) {
        UnmapViewOfFile(data);
    }
}

void *ec_library_open(const char *path)
{
    return path != NULL ? (void *)LoadLibraryA(path) : (void *)GetModuleHandleA(NULL);
}

bool ec_library_find(void *library, const char *symbol, void *function)
{
    FARPROC found = GetProcAddress((HMODULE)library, symbol);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

void ec_library_close(void *library)
{
    if (library != (void *)GetModuleHandleA(NULL)) {
        FreeLibrary((HMODULE)library);
    }
}

#else

#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>

#if !defined(__wasi__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

ec_kind ec_path_kind(const char *path, int64_t *size)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return EC_NOTHING;
    }
    *size = (int64_t)status.st_size;
    return S_ISREG(status.st_mode) ? EC_FILE : S_ISDIR(status.st_mode) ? EC_FOLDER : EC_OTHER;
}

bool ec_each_name(const char *folder, bool (*each)(void *user, const char *name), void *user)
{
    DIR *open = opendir(folder);
    struct dirent *entry;
    if (open == NULL) {
        return false;
    }
    while ((entry = readdir(open)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !each(user, entry->d_name)) {
            break;
        }
    }
    closedir(open);
    return true;
}

#if defined(__wasi__)

bool ec_map_file(const char *path, const void **data, size_t *size)
{
    (void)path;
    (void)size;
    *data = NULL;
    return false;
}

void ec_unmap_file(const void *data, size_t size)
{
    (void)data;
    (void)size;
}

#else

bool ec_map_file(const char *path, const void **data, size_t *size)
{
    struct stat status;
    void *mapped = MAP_FAILED;
    int file = open(path, O_RDONLY);
    if (file >= 0 && fstat(file, &status) == 0 && status.st_size > 0) {
        *size = (size_t)status.st_size;
        mapped = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
    }
    if (file >= 0) {
        close(file); /* the mapping stays */
    }
    *data = mapped != MAP_FAILED ? mapped : NULL;
    return *data != NULL;
}

void ec_unmap_file(const void *data, size_t size)
{
    if (data != NULL) {
        munmap((void *)(uintptr_t)data, size);
    }
}

#endif

void *ec_library_open(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

bool ec_library_find(void *library, const char *symbol, void *function)
{
    void *found = dlsym(library, symbol);
    memcpy(function, &found, sizeof found); /* ISO C has no cast from one to the other */
    return found != NULL;
}

void ec_library_close(void *library)
{
    dlclose(library);
}

#endif
