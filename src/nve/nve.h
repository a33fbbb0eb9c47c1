/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge daemon as one object: loop, data plane, core (src/edge), session with
 * the NVA, agent socket, HTTP. The parts of src/nve know each other through this.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/table.h"
#include "conf/schema.h"
#include "datapath/datapath.h"
#include "edge/edge.h"
#include "io/api.h"
#include "io/http.h"
#include "io/loop.h"
#include "io/netlink.h"
#include "io/session.h"

enum { NVE_DEVICE_SIZE = 16, NVE_ACTIVE_MAX = 1024 };

struct nve_config {
        struct gw_conf_common common;
        struct gw_conf_endpoints nva;
        struct gw_ip locator;
        char underlay_device[NVE_DEVICE_SIZE];
        char vxlan_device[NVE_DEVICE_SIZE], punt_device[NVE_DEVICE_SIZE];
        uint16_t vxlan_port;
        uint32_t redirect_min_ms, redirect_idle_ms;
        char registration_transport[NVE_DEVICE_SIZE]; /* session, mobility-header */
        struct gw_ip registration_nva;     /* where the authority takes and sends Mobility Headers; :: for none */
        struct gw_ip registration_address; /* and we; ::: the locator */
        char registration_keys[GW_CONF_PATH_SIZE];
        uint32_t registration_window_ms, heartbeat_ms;
        bool host_routes;
        uint32_t limits[GW_EDGE_LIMITS], limit_queries; /* per second and port; 0: none */
        char role[NVE_DEVICE_SIZE];                     /* "edge", "gateway" */
        struct gw_name site;
        uint32_t gateway_cost, gateway_probe_ms;
        char outside_device[NVE_DEVICE_SIZE];
        bool snoop;
        char pin_dir[GW_CONF_PATH_SIZE];
        char agent_socket[GW_CONF_SOCKET_SIZE];
};
extern const struct gw_conf_schema nve_schema;

struct nve {
        struct nve_config config;
        struct gw_loop loop;
        struct gw_datapath *dp;
        struct gw_edge *edge;
        bool restoring; /* what outlived the last daemon is taken over */
        int took;       /* keep.c: the punt device's descriptor that did; 0: none */
        bool is_up;     /* it was offered to the supervisor: this daemon came up */
        bool is_kept;   /* ... and outlives it */
        struct gw_tls *tls;
        struct gw_renewal *renewal;
        struct gw_session *session; /* with the NVA */
        struct gw_listener *agent;
        struct gw_http *http;
        struct gw_api api;
        struct gw_link_watch *links;
        sd_event_source *wake, *after, *punts, *link_events;
        struct gw_timer *stale_timer, *save_timer;
        struct nve_mobility *mobility; /* NULL: off */
        struct nve_routes *routes;     /* NULL: off */
        struct gw_list drains;         /* struct nve_drain */
        struct gw_list presences;      /* presence.c: questions that wait */
        struct gw_list saved;          /* struct nve_saved: ports that have a file */
        struct gw_table saved_by_id;   /* the same */
        json_t *gateway;               /* as the NVA told it last; NULL: nothing yet */
        struct gw_wall started;
        uint64_t restart_count;
        uint64_t drained, returned, inject_failed;
        bool look_for_stale;
        struct gw_member active[NVE_ACTIVE_MAX]; /* (VNI, locator) that ports here exchange packets with */
        size_t n_active;
        struct gw_mono active_until;
};

struct gw_datapath_config nve_datapath_config(const struct nve_config *config);

/* Opens everything and takes over what is pinned and saved. On failure *error says what to do; nve_deinit is due in
 * either case. nve_deinit leaves devices, programs and maps in place: frames keep flowing. */
int nve_init(struct nve *nve, const struct nve_config *config, struct gw_error *error);
void nve_deinit(struct nve *nve);
struct gw_edge_now nve_now(void);

/* keep.c: frames that came up, from one daemon to the next */
int nve_keep_take(void); /* the punt device's descriptor, from the supervisor; 0: none */
void nve_keep_give(struct nve *nve);
void nve_keep_end(struct nve *nve); /* what waits is put where the next one finds it */

/* underlay.c */
uint32_t nve_underlay_mtu(const struct nve *nve); /* octets of IP; 0: no device has the locator */
bool nve_is_own_device(const struct nve *nve, const struct gw_link *device);

/* mobility.c: registrations and notices as Mobility Headers */
struct gw_registration;
bool nve_config_own_transport(const struct nve_config *config);
struct gw_ip nve_config_registration_address(const struct nve_config *config); /* ours for Mobility Headers */
int nve_mobility_open(struct nve *nve, struct gw_error *error);                /* 0 also when it is off */
void nve_mobility_close(struct nve *nve);
void nve_mobility_reload(struct nve *nve); /* the key file; on failure the present keys stay */
void nve_mobility_request(struct nve *nve, const struct gw_registration *request);
json_t *nve_mobility_json(const struct nve *nve);

/* routes.c: host routes for VMs that have moved */
int nve_routes_open(struct nve *nve, struct gw_error *error); /* 0 also when it is off */
void nve_routes_close(struct nve *nve);
void nve_routes_noticed(struct nve *nve, const struct gw_registration *request, struct gw_registration *reply);
json_t *nve_routes_json(const struct nve *nve);
void nve_show_host_routes(struct gw_request *request, void *user);

/* effects.c */
extern const struct gw_edge_effects nve_effects;
void nve_read_punts(struct nve *nve); /* what waits, up to a bound */
void nve_read_all_punts(struct nve *nve);
void nve_read_stale(struct nve *nve);

/* state.c: one file a port */
int nve_state_init(struct nve *nve);
int nve_state_open(struct nve *nve, struct gw_error *error); /* folders, restart counter */
int nve_state_restore(struct nve *nve, struct gw_error *error);
/* Before a port is attached. */
int nve_state_save_port(struct nve *nve, const struct gw_edge_attach *port, const char *device);
/* It was not attached after all: the file says again what is attached under that id, at its former device. */
void nve_state_refused(struct nve *nve, const struct gw_name *port, const char *device);
void nve_state_changed(struct nve *nve, const struct gw_name *vm); /* written soon */
void nve_state_flush(struct nve *nve);                             /* written now */
void nve_state_close(struct nve *nve);
const char *nve_state_device(struct nve *nve, const struct gw_name *port); /* "" when unknown */

/* rules.c: what a port may do, in calls and files: members allow and limits */
void nve_rules_read(struct gw_json_reader *r, struct gw_edge_attach *out);
void nve_rules_write(json_t *into, const struct gw_edge_attach *port);
uint32_t nve_rules_flags(const struct gw_edge_attach *port); /* enum gw_port_flag */
json_t *nve_rules_in_force(const struct nve *nve,
                           const struct gw_edge_attach *port); /* per second, 0: none; null: no device */
void nve_rules_limits(const struct nve *nve, const uint32_t limits[static GW_EDGE_LIMITS],
                      uint32_t per_s[static GW_LIMIT_MAX]); /* with the host's own where they are 0 */

/* drain.c: taps of VMs that were cut */
/* Takes over the descriptor, reads what one turn takes, and goes on reading. What was sent on is in nve->drained. */
void nve_drain_add(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd);
/* Of a VM that arrives: kept, and read from nve_drain_go on, should it not. One for each device: the last one that came. */
void nve_drain_keep(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd);
bool nve_drain_is_waiting(struct nve *nve, const struct gw_name *vm); /* something is queued */
uint64_t nve_drain_go(struct nve *nve, const struct gw_name *vm);     /* how many were read until now */
void nve_drain_close(struct nve *nve,
                     uint32_t ifindex); /* its port goes: the last that is queued is sent, if it was to be */
void nve_drain_stop(struct nve *nve, const struct gw_name *vm); /* NULL: all */

/* calls.c and show.c: the handlers of the routes */
extern const struct gw_route nve_routes[];
void nve_show_ports(struct gw_request *request, void *user);
void nve_show_fdb(struct gw_request *request, void *user);
void nve_show_neighbours(struct gw_request *request, void *user);
void nve_show_members(struct gw_request *request, void *user);
void nve_show_counters(struct gw_request *request, void *user);
void nve_show_bindings(struct gw_request *request, void *user); /* bindings.c */
void nve_show_binding(struct gw_request *request, void *user);
/* presence.c */
void nve_call_presence(struct gw_request *request, void *user);
void nve_call_claimed(struct gw_request *request, void *user);
void nve_presences_end(struct nve *nve);
void nve_show_status(struct gw_request *request, void *user);

/* gateway.c: the gateway role. What is to be routed is told by the NVA, and kept in state-dir. */
bool nve_is_gateway(const struct nve *nve);
int nve_gateway_restore(struct nve *nve, struct gw_error *error);
void nve_gateway_put(struct gw_request *request, void *user);
void nve_gateway_show(struct gw_request *request, void *user);

/* caches.c, trace.c: what an audit compares and repairs; what would become of a frame */
void nve_caches(struct gw_request *request, void *user);
void nve_repair(struct gw_request *request, void *user);
void nve_trace(struct gw_request *request, void *user);

/* show.c: words and values that several answers have */
json_t *nve_json_ip(struct gw_ip ip); /* null when unspecified */
json_t *nve_json_mac(struct gw_mac mac);
const char *nve_forward_word(uint8_t kind); /* "local", "remote", "moved", "arriving"; "?" */
const char *nve_origin_word(uint8_t origin);
