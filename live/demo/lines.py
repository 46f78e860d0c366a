"""What the demo's synthetic viewers say. `{name}` is the goods being explained; nothing here claims to have bought anything."""

from __future__ import annotations

SMALL_TALK = {
    "zh": (
        "主播晚上好", "第一次来，先看看", "今天有什么好东西", "画面很清楚", "声音可以", "这家店就在我家附近", "自提方便吗",
        "几点可以去店里取", "今天能取吗", "还有优惠券吗", "刚进来，讲到哪里了", "周末人真多", "点赞点赞", "等下一个福袋",
        "下班顺路取，挺好", "主播慢一点，没听清", "可以换一家店取吗", "上次的包装不错", "求返场", "先点个赞",
    ),
    "en": (
        "Good evening from the demo crowd", "First time here", "What is next?", "Clear picture today", "Can I collect it tomorrow?",
        "Which store is closest to the metro?", "Any coupons left?", "Just joined, what did I miss?", "Hearts for the host",
        "How late is the pickup desk open?", "Nice pace, easy to follow", "Is there an English label on it?", "Collecting on my way home",
        "Please show it from the other side", "Waiting for the next drop",
    ),
}  # fmt: skip
ABOUT_GOODS = {
    "zh": (
        "{name}这个价格可以", "想看看{name}的近景", "{name}还有多少", "{name}送人合适吗", "{name}哪家店库存多", "{name}可以返场吗",
        "{name}有几种规格", "{name}上次没赶上", "{name}再讲一遍吧",
    ),
    "en": (
        "Good price for {name}", "A close-up of {name}, please", "How many of {name} are left?", "{name} as a gift?",
        "Which store has most of {name}?", "Missed {name} last time", "{name} once more, please",
    ),
}  # fmt: skip
NEWS = {
    "coupon": {"zh": ("来券了", "券券券", "优惠券来啦"), "en": ("A coupon!", "Coupon time", "There it is")},
    "sale": {"zh": ("开抢了", "终于等到了", "这个价格不错"), "en": ("It is on", "Finally", "That price, though")},
    "group": {
        "zh": ("拼团拼团", "人越多越便宜", "差几个人降价"),
        "en": ("Group buy!", "More people, lower price", "How many to the next step?"),
    },
}


def name(number: int) -> str:
    """What viewer `number` is called, plainly a demo's; every second one in English."""
    return f"演示观众 {number}" if number % 2 else f"Demo viewer {number}"


def language(number: int) -> str:
    """What they speak."""
    return "zh" if number % 2 else "en"
