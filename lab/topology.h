/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces and devices of a lab. */
#pragma once

struct gw_error;
struct gw_lab;
struct gw_lab_guest;

/* Makes one namespace, written down first. */
int gw_topology_netns(struct gw_lab *lab, const char *host, struct gw_error *error);
/* The switch, and a cable with an address for the NVA and each host. */
int gw_topology_build(struct gw_lab *lab, struct gw_error *error);
/* A BPF file system for a host's edge. */
int gw_topology_mount_bpf(struct gw_lab *lab, const char *host, struct gw_error *error);
/* Unmounts and removes what the manifest lists, backwards; goes on after errors and reports the first. */
int gw_topology_remove(struct gw_lab *lab, struct gw_error *error);
