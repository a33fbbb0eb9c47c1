/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A laboratory: a data centre of network namespaces on one machine, with the real
 * daemons and real configuration files. Everything it makes is in its manifest
 * before it exists, so that gw_lab_down finds it also after a crash.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "lab/manifest.h"

struct gw_client;
struct gw_error;

#define GW_LAB_ROOT "/run/godwit/lab"

enum {
        GW_LAB_NAME_MAX = 20,
        GW_LAB_HOSTS_MAX = 64,
        GW_LAB_PATH = 256,
        GW_LAB_GUEST_NAME_MAX = 11, /* a device is named after it */
};

struct gw_lab_options {
        const char *name, *accelerator, *log_level;
        unsigned hosts, underlay, mtu; /* underlay: 4 or 6 */
        unsigned memory_mib, vcpus;    /* of each host, for VMs */
};

struct gw_lab {
        char name[GW_LAB_NAME_MAX + 1];
        char dir[64];
        const char *user; /* while it is built: who emulators run as */
        unsigned hosts, underlay, mtu;
        struct gw_manifest manifest;
        int lock;
};

/* All take 0 or, with *error filled, GW_E_* or a negative errno. */

/* Opens a lab that is up, locked against others. GW_E_NOT_FOUND. name NULL: the only one there is. */
int gw_lab_open(struct gw_lab *lab, const char *name, struct gw_error *error);
/* The same without the lock, for those who only look. */
int gw_lab_look(struct gw_lab *lab, const char *name, struct gw_error *error);
void gw_lab_close(struct gw_lab *lab); /* the name and the counts stay readable */

/* Builds one. On failure everything is removed again. */
int gw_lab_up(struct gw_lab *lab, const struct gw_lab_options *options, struct gw_error *error);
/* Removes every trace. 0 also when there is none. */
int gw_lab_down(const char *name, struct gw_error *error);

int gw_lab_start(struct gw_lab *lab, const char *host, const char *daemon, struct gw_error *error);
int gw_lab_kill(struct gw_lab *lab, const char *host, const char *daemon, int signal, struct gw_error *error);
/* Until every host's edge and hypervisor agent are connected. */
int gw_lab_wait(struct gw_lab *lab, unsigned limit_ms, struct gw_error *error);

/* A guest that is a namespace: gw-<lab>-g-<name> with eth0, a veth port on `host`. */
struct gw_lab_guest {
        const char *name, *host, *vn;
        const char *mac; /* may be NULL */
        const char *ips[16];
        size_t n_ips;
};
int gw_lab_guest_add(struct gw_lab *lab, const struct gw_lab_guest *guest, struct gw_error *error);
int gw_lab_guest_delete(struct gw_lab *lab, const char *name, struct gw_error *error);

/* A VM, made and started: a real one (QEMU, the laboratory's kernel), or a synthetic one. */
struct gw_lab_vm {
        const char *name, *vn, *on; /* on NULL: the authority chooses */
        const char *mac;            /* may be NULL */
        const char *ips[16];
        size_t n_ips;
        bool synthetic;
        unsigned memory_mib;
        unsigned pause_ms, copy_ms; /* synthetic: how long a move stops it, and how long its copy takes */
};
int gw_lab_vm_add(struct gw_lab *lab, const struct gw_lab_vm *vm, struct gw_error *error);
/* Of a VN's subnets (its JSON): the length, of the address's own family. */
uint8_t gw_lab_subnet_bits(struct gw_ip ip, json_t *vn);

/* Builds the real guest's kernel and RAM disk under images/ when they are not there. */
int gw_lab_images(struct gw_lab *lab, struct gw_error *error);

/* Runs argv in a host's network namespace ("h1", "nva", "net", or a guest's name); returns only on failure. */
int gw_lab_exec(struct gw_lab *lab, const char *host, char **argv, struct gw_error *error);

/* Names and places. */
const char *gw_lab_netns(const struct gw_lab *lab, const char *host, char out[static 64]);
const char *gw_lab_locator(const struct gw_lab *lab, const char *host, char out[static GW_IP_TEXT]);
void gw_lab_api(const char *name, char out[static GW_LAB_PATH]);
bool gw_lab_has_host(const struct gw_lab *lab, const char *host);
int gw_lab_client(const struct gw_lab *lab, struct gw_client **out, struct gw_error *error);
/* Finds a daemon, or a file of the laboratory, next to this program: in the build tree or installed. */
int gw_lab_program(const char *name, char out[static GW_LAB_PATH], struct gw_error *error);
/* Who its emulators run as, as godwit-hv's qemu-user; says so when that has to be root (""). */
const char *gw_lab_user(void);
/* The names of the labs that exist; returns how many (may be more than max). */
size_t gw_lab_list(char names[][GW_LAB_NAME_MAX + 1], size_t max);
