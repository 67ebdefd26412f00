"""A slow, plain oracle for the atoms and the legality mask of NetHackScore (NLE 1.3.0 / NetHack 3.6.7).

Written independently of the package, straight from the formulas, in numpy operations over whole batches.
Inputs: G [B, 21, 79] int16 glyphs, bl [B, 27] int64 blstats, msg [B, 256] uint8, inv_oc [B, 55] uint8,
inv_let [B, 55] uint8, misc [B, 3] int32. All atoms are returned as one [B, len(names)] bool array.
"""

import numpy as np
from nle import nethack as nh

OFF_BODY, OFF_DET = 1144, 763
_bits, LUT = {}, np.zeros(nh.MAX_GLYPH + 1, np.uint64)


def _add(name, lo, hi):
    b = _bits.setdefault(name, np.uint64(1) << np.uint64(len(_bits)))
    LUT[lo : hi + 1] |= b


for n_, lo, hi in (  # inclusive glyph ranges
    ("MON", 0, 380),
    ("PET", 381, 761),
    ("INVIS", 762, 762),
    ("DET", 763, 1143),
    ("BODY", 1144, 1524),
    ("RIDDEN", 1525, 1905),
    ("OBJ", 1906, 2358),
    ("FOOD", 2145, 2177),
    ("BOX", 2095, 2097),
    ("POTION", 2178, 2203),
    ("SCROLL", 2204, 2245),
    ("WAND", 2289, 2315),
    ("GOLD", 2316, 2316),
    ("BOULDER", 2353, 2353),
    ("STONE", 2359, 2359),
    ("WALL", 2360, 2370),
    ("NDOOR", 2371, 2371),
    ("ODOOR", 2372, 2373),
    ("CDOOR", 2374, 2375),
    ("BARS", 2376, 2376),
    ("TREE", 2377, 2377),
    ("FLOOR", 2378, 2379),
    ("CORR", 2380, 2381),
    ("UP", 2382, 2382),
    ("UP", 2384, 2384),
    ("DOWN", 2383, 2383),
    ("DOWN", 2385, 2385),
    ("ALTAR", 2386, 2386),
    ("GRAVE", 2387, 2387),
    ("THRONE", 2388, 2388),
    ("SINK", 2389, 2389),
    ("FOUNTAIN", 2390, 2390),
    ("WATER", 2391, 2391),
    ("WATER", 2400, 2400),
    ("ICE", 2392, 2392),
    ("LAVA", 2393, 2393),
    ("LOWDB", 2394, 2395),
    ("TRAP", 2401, 2423),
    ("SWALLOW", 2541, 5588),
    ("WARN", 5589, 5594),
    ("STATUE", 5595, 5975),
):
    _add(n_, lo, hi)
PASSIVE_IDS = (6, 8, 9, 10, 27, 28, 55, 56, 156, 157, 158, 159)  # acid blob .. red mold
for i in range(nh.NUMMONS):
    p = nh.permonst(i)
    for g in (i, OFF_DET + i):
        if p.mflags2 & 0x00200000:
            _add("PEACE", g, g)  # M2_PEACEFUL: always generated peaceful
        if i in PASSIVE_IDS:
            _add("PASSIVE", g, g)
        if p.difficulty >= 8:
            _add("TOUGH", g, g)
        if p.mmove > 12:
            _add("FAST", g, g)
    name = p.mname
    if (
        p.mflags1 & (0x10000000 | 0x08000000)  # M1_POIS | M1_ACID
        or i in (9, 10, 158, 205, 280)
        or p.mflags2 & 0x4  # cockatrices, green mold, green slime, Medusa, were
        or name
        in (
            "bat",
            "giant bat",
            "vampire bat",
            "stalker",
            "little dog",
            "dog",
            "large dog",
            "kitten",
            "housecat",
            "large cat",
        )
    ) and name not in ("lichen", "lizard"):
        _add("BADBODY", OFF_BODY + i, OFF_BODY + i)


def bits(*names):
    r = np.uint64(0)
    for n in names:
        r |= _bits[n]
    return r


MONLIKE = bits("MON", "DET", "INVIS", "RIDDEN", "WARN")
COVER = MONLIKE | bits("PET", "SWALLOW")
WALK = bits(
    "NDOOR",
    "ODOOR",
    "FLOOR",
    "CORR",
    "UP",
    "DOWN",
    "ALTAR",
    "GRAVE",
    "THRONE",
    "SINK",
    "FOUNTAIN",
    "ICE",
    "LOWDB",
    "TRAP",
    "OBJ",
    "BODY",
)
ITEM = bits("OBJ", "BODY")
AUTOPICK = bits("GOLD", "POTION", "SCROLL", "WAND")
FURN = bits("ALTAR", "THRONE", "SINK", "FOUNTAIN", "GRAVE")
# neighbour order = action order 1..8 of NetHackScore: N E S W NE SE SW NW
DY = np.array([-1, 0, 1, 0, -1, 1, 1, -1])
DX = np.array([0, 1, 0, -1, 1, 1, -1, -1])
SELECTABLE = np.zeros(256, bool)
SELECTABLE[[ord(c) for c in "behjklnsuyBHJKLNUY"]] = True  # inventory letters the 23 actions can type
ACTION_BYTE = np.array(
    [13, 107, 108, 106, 104, 117, 110, 98, 121, 75, 76, 74, 72, 85, 78, 66, 89, 60, 62, 46, 4, 101, 115]
)

MSG = {
    "q_dir": (b"In what direction?",),
    "q_eat_item": (b"want to eat?",),
    "q_eat_floor": (b" here; eat ",),
    "q_attack": (b"Really attack",),
    "q_cont_eat": (b"Continue eating?",),
    "m_see_item": (b"You see here", b"You feel here", b"objects here"),
    "m_stairs": (b"There is a staircase", b"There is a ladder"),
    "m_wall": (b"It's a wall", b"solid stone", b"It's a tree"),
    "m_blocked": (
        b"blocks your path",
        b"is in the way",
        b"You stop",
        b"cannot pass",
        b"can't move diagonally",
        b"but in vain",
    ),
    "m_locked": (b"This door is locked",),
    "m_door_open": (b"door opens", b"crashes open", b"shatters to pieces"),
    "m_door_fail": (b"WHAMM", b"The door resists"),
    "m_you_hit": (b"You hit", b"You strike", b"You bash", b"You smite", b"You kick the", b"You bite"),
    "m_you_kill": (b"You kill", b"You destroy"),
    "m_you_miss": (b"You miss",),
    "m_attacked": (
        b" bites!",
        b" hits!",
        b" stings!",
        b" kicks!",
        b" butts!",
        b" touches you!",
        b" misses",
        b" explodes!",
        b"swallows you",
        b"engulfs you",
    ),
    "m_levelup": (b"Welcome to experience level",),
    "m_trap": (
        b"You fall into",
        b"bear trap",
        b"trap door",
        b"You land on",
        b"iron spikes",
        b"You fall through",
    ),
    "m_hear": (b"You hear",),
    "m_pet_swap": (b"swap places",),
    "m_shop": (b"!  Welcome to ", b"!  Welcome again to "),
    "m_noop": (b"Unknown command", b"Never mind", b"You can't go", b"You don't have anything to eat"),
}


_iy, _ix = np.divmod(np.arange(21 * 79), 79)
_ch = np.maximum(np.abs(_iy[:, None] - _iy), np.abs(_ix[:, None] - _ix))
_ln = (
    (_iy[:, None] == _iy) | (_ix[:, None] == _ix) | (np.abs(_iy[:, None] - _iy) == np.abs(_ix[:, None] - _ix))
)
NEAR3 = (_ch <= 3).reshape(-1, 21, 79)  # 2.75 MB lookup tables indexed by 79*y+x
INLINE8 = (_ln & (_ch <= 8)).reshape(-1, 21, 79)
del _iy, _ix, _ch, _ln
_MSGCACHE = {}


def message_atoms(msg):
    """(B, len(MSG)+1) bool; results are cached per distinct message because NetHack repeats itself."""
    out = np.zeros((len(msg), len(MSG) + 1), bool)
    for i in np.nonzero(msg[:, 0])[0]:
        b = msg[i].tobytes()
        v = _MSGCACHE.get(b)
        if v is None:
            t = b.split(b"\0", 1)[0]
            v = np.array([any(p in t for p in pats) for pats in MSG.values()] + [t[1:4] == b" - "])
            if len(_MSGCACHE) < 200_000:
                _MSGCACHE[b] = v
        out[i] = v
    return out


class Memory:
    """Per-env remembered background (what the hero and monsters cover), and the previous blstats."""

    def __init__(self, B):
        self.M = np.full((B, 21, 79), 2359, np.int16)
        self.born = np.full((B, 21, 79), -(10**6), np.int32)
        self.key = np.full(B, -1)
        self.prev = None
        self.frozen = np.zeros(B, int)
        self.still = np.zeros(B, int)

    def reset(self, i):
        self.M[i] = 2359
        self.born[i] = -(10**6)
        self.key[i] = -1
        self.frozen[i] = self.still[i] = 0
        if self.prev is not None:
            self.prev[i] = 0

    def update(self, G, bl, act):
        key = bl[:, 23] * 64 + bl[:, 24]
        changed = key != self.key
        self.M[changed] = 2359
        vis = ((LUT[G] & COVER) == 0) & (G != 2359)
        r = np.arange(len(G))
        y, x = bl[:, 1], bl[:, 0]
        vis[r, y, x] = False
        isb = vis & (G >= 1144) & (G <= 1524) & (G != self.M)  # a corpse glyph that was not there before
        if isb.any():
            known = self.M != 2359  # cell had been seen empty -> fresh corpse
            self.born = np.where(isb, np.where(known, bl[:, 20, None, None], -(10**6)), self.born).astype(
                np.int32
            )
        np.copyto(self.M, G, where=vis)
        arrived = changed & (self.key >= 0)
        self.M[r[arrived & (act == 18)], y[arrived & (act == 18)], x[arrived & (act == 18)]] = 2382
        self.M[r[arrived & (act == 17)], y[arrived & (act == 17)], x[arrived & (act == 17)]] = 2383
        self.key = key
        return changed


def compute(G, bl, msg, inv_oc, inv_let, misc, mem, act):
    B = len(G)
    r = np.arange(B)
    x, y = bl[:, 0], bl[:, 1]
    first = (
        np.ones(B, bool) if mem.prev is None else mem.prev[:, 11] == 0
    )  # an episode's first frame changes nothing
    new_level = mem.update(G, bl, act)
    prev = bl if mem.prev is None else np.where(mem.prev[:, 11:12] == 0, bl, mem.prev)
    Lm = LUT[G]
    Lm[r, y, x] = 0
    P = np.full((B, 23, 81), bits("STONE"), np.uint64)
    P[:, 1:22, 1:80] = Lm
    K = P[r[:, None], y[:, None] + 1 + DY, x[:, None] + 1 + DX]  # (B,8) neighbour category bits
    U = LUT[mem.M[r, y, x]]  # (B,) bits of what lies under the hero

    def has(A, m):
        return (A & m) != 0

    def adj(m):
        return has(K, m).any(1)

    def seen(m):
        return has(Lm, m).any((1, 2))

    hp, hpm, cond, hun, cap, dep = (
        bl[:, 10],
        np.maximum(bl[:, 11], 1),
        bl[:, 25],
        bl[:, 21],
        bl[:, 22],
        bl[:, 12],
    )
    lvl, T = bl[:, 18], bl[:, 20]
    hplim = np.minimum(hpm, 15 * np.maximum(lvl, 1))
    div = np.select([lvl <= 5, lvl <= 13, lvl <= 21, lvl <= 29], [5, 6, 7, 8], 9)
    hostile = has(Lm, MONLIKE) & ~has(Lm, bits("PEACE"))
    hostK = has(K, MONLIKE) & ~has(K, bits("PEACE"))
    here = 79 * y + x
    walkK = has(K, WALK | bits("PET")) & ~has(K, bits("BOULDER"))
    stone = np.pad(G == 2359, ((0, 0), (1, 1), (1, 1)))  # frontier = loose corridor end or unentered door
    W = np.zeros((B, 23, 81), np.uint8)
    W[:, 1:22, 1:80] = has(Lm, WALK | bits("PET") | MONLIKE) & ~has(Lm, bits("BOULDER"))
    W[r, y + 1, x + 1] = 1
    rows = W[:, :, :-2] + W[:, :, 1:-1] + W[:, :, 2:]
    n_walk = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - W[:, 1:-1, 1:-1]
    orth_stone = stone[:, :-2, 1:-1] | stone[:, 2:, 1:-1] | stone[:, 1:-1, :-2] | stone[:, 1:-1, 2:]
    open_front = (has(Lm, bits("CORR")) & (n_walk <= 1)) | (has(Lm, bits("NDOOR", "ODOOR")) & orth_stone)
    moved = (bl[:, :2] != prev[:, :2]).any(1)
    dt0 = (prev[:, 20] == T) & ~first
    mem.frozen = np.where(dt0, mem.frozen + 1, 0)
    mem.still = np.where(moved | first, 0, mem.still + 1)
    a = {}
    # A vital status
    a["hp_full"] = hp >= hpm
    a["hp_low"] = hp * 3 < hpm
    a["hp_mid"] = (hp * 3 >= hpm) & (hp * 3 < 2 * hpm)
    a["hp_critical"] = (hp <= 5) | (hp * div <= hplim)
    a["pw_castable"] = bl[:, 14] >= 5
    a["satiated"] = hun == 0
    a["not_hungry"] = hun == 1
    a["hungry"] = hun == 2
    a["weak"] = hun == 3
    a["fainting"] = hun >= 4
    a["burdened"] = cap >= 1
    a["stressed"] = cap >= 2
    for k, v in {
        "stone": 1,
        "slime": 2,
        "strngl": 4,
        "foodpois": 8,
        "termill": 16,
        "blind": 32,
        "deaf": 64,
        "stun": 128,
        "conf": 256,
        "hallu": 512,
        "lev": 1024,
        "fly": 2048,
        "ride": 4096,
    }.items():
        a["c_" + k] = (cond & v) != 0
    a["polymorphed"] = bl[:, 17] > 0
    # B progress / place
    a["xl_1"] = lvl <= 1
    a["xl_2_4"] = (lvl >= 2) & (lvl <= 4)
    a["xl_5_7"] = (lvl >= 5) & (lvl <= 7)
    a["xl_8p"] = lvl >= 8
    a["ac_bad"] = bl[:, 16] >= 7
    a["ac_good"] = bl[:, 16] <= 3
    a["depth_1"] = dep == 1
    a["depth_2_4"] = (dep >= 2) & (dep <= 4)
    a["depth_5_9"] = (dep >= 5) & (dep <= 9)
    a["depth_10p"] = dep >= 10
    a["underlevelled"] = lvl < dep
    a["in_mines"] = bl[:, 23] == 2
    a["in_sokoban"] = bl[:, 23] == 4
    # C adjacency
    a["hostile_adj"] = hostK.any(1)
    a["hostile_adj_2p"] = hostK.sum(1) >= 2
    a["peaceful_adj"] = adj(bits("PEACE"))
    a["pet_adj"] = adj(bits("PET"))
    a["passive_adj"] = adj(bits("PASSIVE"))
    a["tough_adj"] = (hostK & has(K, bits("TOUGH"))).any(1)
    a["fast_adj"] = (hostK & has(K, bits("FAST"))).any(1)
    a["unseen_adj"] = adj(bits("INVIS", "WARN"))
    a["cdoor_adj"] = adj(bits("CDOOR"))
    a["odoor_adj"] = adj(bits("ODOOR", "NDOOR"))
    a["wall_adj"] = adj(bits("WALL"))
    a["stone_adj"] = adj(bits("STONE"))
    a["boulder_adj"] = adj(bits("BOULDER"))
    a["trap_adj"] = adj(bits("TRAP"))
    a["liquid_adj"] = adj(bits("WATER", "LAVA"))
    a["item_adj"] = adj(ITEM)
    a["autopick_adj"] = adj(AUTOPICK)
    a["food_adj"] = adj(bits("FOOD", "BODY"))
    a["down_adj"] = adj(bits("DOWN"))
    a["corr_adj"] = adj(bits("CORR"))
    a["dead_end"] = walkK.sum(1) <= 1
    a["boxed_in"] = walkK.sum(1) == 0
    # D under the hero (memory)
    a["on_down"] = has(U, bits("DOWN"))
    a["on_up"] = has(U, bits("UP"))
    a["on_door"] = has(U, bits("NDOOR", "ODOOR"))
    a["on_corr"] = has(U, bits("CORR"))
    a["on_floor"] = has(U, bits("FLOOR"))
    a["on_furniture"] = has(U, FURN)
    a["on_trap"] = has(U, bits("TRAP"))
    a["item_here"] = has(U, ITEM)
    a["food_here"] = has(U, bits("FOOD"))
    a["corpse_here"] = has(U, bits("BODY"))
    a["bad_corpse_here"] = has(U, bits("BADBODY"))
    a["box_here"] = has(U, bits("BOX"))
    a["corpse_fresh_here"] = a["corpse_here"] & (T - mem.born[r, y, x] <= 30)
    # E visible / remembered map
    a["hostile_seen"] = hostile.any((1, 2))
    a["hostile_near"] = (hostile & NEAR3[here]).any((1, 2))
    a["hostile_inline"] = (hostile & INLINE8[here]).any((1, 2))
    a["tough_seen"] = (hostile & has(Lm, bits("TOUGH"))).any((1, 2))
    a["pet_seen"] = seen(bits("PET"))
    a["down_seen"] = seen(bits("DOWN")) | a["on_down"]
    a["up_seen"] = seen(bits("UP")) | a["on_up"]
    a["item_seen"] = seen(ITEM & ~bits("BOULDER"))
    a["autopick_seen"] = seen(AUTOPICK)
    a["cdoor_seen"] = seen(bits("CDOOR"))
    a["corr_seen"] = seen(bits("CORR"))
    a["furniture_seen"] = seen(FURN)
    a["open_frontier"] = open_front.any((1, 2))
    a["swallowed"] = adj(bits("SWALLOW"))
    # F inventory
    food = inv_oc == 7
    a["has_food"] = food.any(1)
    a["food_typable"] = (food & SELECTABLE[inv_let]).any(1)
    a["has_potion"] = (inv_oc == 8).any(1)
    a["has_scroll"] = (inv_oc == 9).any(1)
    a["has_wand"] = (inv_oc == 11).any(1)
    a["pack_heavy"] = (inv_oc < 18).sum(1) >= 26
    # G prompt and message
    a["prompt"] = misc[:, 0] != 0
    mm = message_atoms(msg)
    for j, k in enumerate([*MSG, "m_pickup"]):
        a[k] = mm[:, j]  # m_pickup: "$ - 12 gold pieces", "k - a scroll"
    # H change since the previous step
    a["t_frozen"] = dt0
    a["t_frozen_4"] = mem.frozen >= 4
    a["still_8"] = mem.still >= 8
    a["hp_lost"] = hp < prev[:, 10]
    a["hp_lost_big"] = (prev[:, 10] - hp) * 4 >= hpm
    a["score_up"] = bl[:, 9] > prev[:, 9]
    a["gold_up"] = bl[:, 13] > prev[:, 13]
    a["xp_up"] = bl[:, 19] > prev[:, 19]
    a["level_changed"] = new_level & ~first
    a["late_turn"] = T >= 1000
    mem.prev = bl.copy()
    return np.stack(list(a.values()), 1), list(a), {"K": K, "U": U, "hostK": hostK, "walkK": walkK}


def action_mask(names, A, aux, msg, depth1, gate_kick=True):
    """(B,23) legality, from observable facts only. depth1 = (bl[:,12]==1)&(bl[:,23]==0).
    gate_kick: kicks at nothing or walls are legal in NetHack, but they kill weak policies.
    """
    B = len(A)
    c = {n: A[:, i] for i, n in enumerate(names)}
    m = np.ones((B, 23), bool)
    wallK = (aux["K"] & bits("WALL")) != 0
    diag = np.arange(8) >= 4
    m[:, 1:9] = (
        ~wallK
        & ~(((aux["K"] & bits("ODOOR")) != 0) & diag)
        & ~(((aux["U"] & bits("ODOOR")) != 0)[:, None] & diag)
    )
    m[:, 9:17] = m[:, 1:9]
    m[:, 0] = c["prompt"]
    m[:, 17] = c["on_up"] & ~depth1
    m[:, 18] = c["on_down"] | c["on_trap"] | c["item_here"]
    m[:, 21] = (c["food_typable"] | c["food_here"] | c["corpse_fresh_here"]) & ~c["satiated"]
    if gate_kick:
        m[:, 20] = c["cdoor_adj"] | c["hostile_adj"]
    for i in np.nonzero(c["prompt"])[0]:
        m[i] = False
        m[i, 0] = True
        if c["q_dir"][i]:
            m[i, 1:9] = True
        elif c["q_eat_item"][i]:
            s = bytes(msg[i]).split(b"[")[-1].split(b" or ?*")[0].decode("latin1")
            let = set()
            for j, ch in enumerate(s):  # expand NetHack's compactified ranges, e.g. "b-eh"
                let |= (
                    set(map(chr, range(ord(s[j - 1]), ord(s[j + 1]) + 1)))
                    if ch == "-" and 0 < j < len(s) - 1
                    else {ch}
                )
            m[i] |= np.array([chr(b) in let for b in ACTION_BYTE])
        else:
            m[i, [6, 8]] = True  # 'n' and 'y'
    m[~m.any(1), 22] = True
    return m
