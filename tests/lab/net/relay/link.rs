//! How one agent's path to the coordinator stands.

/// What the path does to what is sent over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Everything passes.
    #[default]
    Whole,
    /// Silence, both ways. New connections are accepted and meet silence; what was on the way arrives when it heals.
    Cut,
    /// Nobody listens, and connections that are up are reset.
    Refused,
    /// One way moves nothing, the other everything.
    Stalled(Way),
    /// One end of each connection was reset and the other was never told: it meets silence. It is told once the path heals.
    HalfOpen {
        /// Whose end is gone.
        gone: End,
    },
    /// So many bytes a second pass, each way of each connection; at least one.
    Throttled {
        /// The rate.
        bytes_per_second: u32,
    },
    /// Connections that are up are overtaken: what the agent sends next over one, so many bytes of it at least, is held back;
    /// the agent's end is then reset; and it reaches the coordinator, and nothing after it, once a newer connection has brought
    /// so many bytes to the agent. Newer connections pass.
    Overtaken {
        /// Bytes held back.
        held: usize,
        /// Bytes by which the newer connection is known to be up.
        until: u64,
    },
    /// Each connection ends in the middle of what it says, so many bytes towards the coordinator from here.
    Broken {
        /// Bytes that pass.
        after: u64,
        /// How it ends.
        ending: Ending,
    },
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the coordinator.
    Up,
    /// To the agent.
    Down,
}

/// An end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent's.
    Agent,
    /// The coordinator's.
    Coordinator,
}

/// How a connection ends, towards both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order, as if all had been said.
    Fin,
    /// Torn down.
    Rst,
}

impl Link {
    /// Whether anything moves that way.
    pub(super) fn moves(self, way: Way) -> bool {
        match self {
            Self::Cut | Self::Refused | Self::HalfOpen { .. } => false,
            Self::Stalled(stalled) => stalled != way,
            Self::Whole | Self::Throttled { .. } | Self::Overtaken { .. } | Self::Broken { .. } => true,
        }
    }

    /// Whether a new connection gets through to the coordinator.
    pub(super) fn opens(self) -> bool {
        self.moves(Way::Up) || self.moves(Way::Down)
    }
}
