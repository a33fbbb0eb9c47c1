/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: small, read at once, and written so that a crash leaves either the old content or the new. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gw_error;

/* Writes a new file beside the old one, syncs it, renames it over and syncs the folder. */
int gw_file_write(const char *path, const void *bytes, size_t size, mode_t mode);
/* A final 0 is added after the content (not counted in *size, which may be NULL). Caller frees. -EFBIG over max. */
int gw_file_read(const char *path, size_t max, char **bytes, size_t *size);
/* To read what others may have put there: anything but a regular file is not even opened, which devices may take for an
 * order. Links are followed. GW_E_INVALID: it is none; negative errno. The caller closes *out. */
int gw_file_open_regular(const char *path, int *out);
int gw_file_check_regular(int fd); /* the same of one that is open */
/* mkdir -p: parents get 0755, the last one `mode`, whatever the umask. 0 also when it is there already; then it stays as it
 * is. */
int gw_dir_make(const char *path, mode_t mode);
int gw_dir_make_above(const char *path, mode_t mode); /* the folder that path lies in */
/* Removes a file; 0 also when absent. Syncs the folder, so that it stays removed. */
int gw_file_remove(const char *path);

int gw_file_write_json(const char *path, const json_t *value, mode_t mode);
/* The error names the file, and the line and column when it is not JSON. -ENOENT when absent. */
int gw_file_read_json(const char *path, size_t max, json_t **out, struct gw_error *error);
