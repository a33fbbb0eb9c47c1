/* SPDX-License-Identifier: Apache-2.0 */
/* Images of a VM's disks on this host. */
#pragma once

#include "hv/hv.h"

enum { HV_IMAGE_PATH = 600, HV_MARK_NAME = 200 };

struct hv_image {
        uint64_t virtual_octets, allocated_octets;
};

int hv_image_path(const struct hv *hv, const struct gw_definition_disk *disk, char out[static HV_IMAGE_PATH]);
/* Is there such a file, of the format that is declared? 0, GW_E_INVALID or negative errno with *error. */
int hv_image_look(const struct hv *hv, const struct gw_definition_disk *disk, struct hv_image *out,
                  struct gw_error *error);
/* The same for all disks but those that are to come with a move. */
int hv_images_check(const struct hv_vm *vm, struct gw_error *error);

/* Source: what the disks are, with a marker beside each. New; NULL with *error. */
json_t *hv_images_survey(struct hv_vm *vm, struct gw_error *error);
/* ... while they are copied: has one another size than before? GW_E_CONFLICT with *error. */
int hv_images_changed(struct hv_vm *vm, struct gw_error *error);
void hv_images_unmark(struct hv_vm *vm);

/* Target: from a survey, which disks come along (record.move.disks). 0 or a code with *error. */
int hv_images_plan(struct hv_vm *vm, json_t *disks, struct gw_error *error);
void hv_images_make(struct hv_vm *vm, hv_images_done done); /* each is in record.move.created before it is there */
void hv_images_drop(struct hv_vm *vm);                      /* takes away what was made: the move came to nothing */

/* Source, after a move: the old images go, or get another name. */
void hv_images_left(struct hv_vm *vm);
