//! A unit for systemd: the gateway as a user of its own that can do little else than use the network.

use std::path::Path;

/// Longest that the gateway may take for a sign of life before it is started again.
const WATCHDOG_SECONDS: u32 = 30;

/// A path as an argument in a unit.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped.contains(char::is_whitespace) || *escaped != text { format!("\"{escaped}\"") } else { escaped }
}

/// Whether a path lies where a service sees nothing of people's own files.
fn is_at_home(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|home| path.starts_with(home))
}

/// The unit of a gateway with this program and configuration.
pub(super) fn text(program: &Path, config: &Path) -> String {
    let home = if is_at_home(program) || is_at_home(config) { "read-only" } else { "yes" };
    format!(
        "# Made by `meshward setup`.\n\
         [Unit]\n\
         Description=Meshward, gateway of a painlessMesh network\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         # It says when it serves, and that it lives; one that hangs is started again.\n\
         Type=notify\n\
         WatchdogSec={WATCHDOG_SECONDS}\n\
         ExecStart={} gateway --config {}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         # A mistake in the options or the configuration does not go away by itself.\n\
         RestartPreventExitStatus=2 4\n\
         # More than service.stop_timeout.\n\
         TimeoutStopSec=30\n\
         \n\
         # A user of its own, with /var/lib/meshward for what it keeps.\n\
         DynamicUser=yes\n\
         StateDirectory=meshward\n\
         RuntimeDirectory=meshward\n\
         StateDirectoryMode=0700\n\
         WorkingDirectory=%S/meshward\n\
         UMask=0077\n\
         \n\
         # The network, its own folder, and nothing else.\n\
         CapabilityBoundingSet=\n\
         LockPersonality=yes\n\
         MemoryDenyWriteExecute=yes\n\
         NoNewPrivileges=yes\n\
         PrivateDevices=yes\n\
         PrivateTmp=yes\n\
         ProtectClock=yes\n\
         ProtectControlGroups=yes\n\
         ProtectHome={home}\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectSystem=strict\n\
         RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         RestrictSUIDSGID=yes\n\
         SystemCallArchitectures=native\n\
         SystemCallFilter=@system-service\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        quoted(program),
        quoted(config),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are() {
        for (path, text) in [
            ("/usr/bin/meshward", "/usr/bin/meshward"),
            ("/a b", "\"/a b\""),
            ("/100%", "\"/100%%\""),
            ("/a$b\"c", "\"/a$$b\\\"c\""),
        ] {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }

    #[test]
    fn what_lies_at_home_is_seen() {
        for (program, config, home) in [
            ("/usr/bin/meshward", "/etc/meshward/meshward.toml", "yes"),
            ("/home/me/meshward", "/etc/meshward/meshward.toml", "read-only"),
            ("/usr/bin/meshward", "/run/user/1000/meshward.toml", "read-only"),
        ] {
            let unit = text(Path::new(program), Path::new(config));
            assert!(unit.contains(&format!("ProtectHome={home}\n")), "{unit}");
        }
    }
}
