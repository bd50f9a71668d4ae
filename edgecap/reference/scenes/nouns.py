"""The drawn things: noun key -> emoji. Keys are English and never change, as lexicons use them."""

from __future__ import annotations

NOUNS: dict[str, str] = {
    # animals
    "dog": "🐕", "cat": "🐈", "horse": "🐎", "cow": "🐄", "pig": "🐖", "sheep": "🐑",
    "rabbit": "🐇", "elephant": "🐘", "lion": "🦁", "bear": "🐻", "tiger": "🐅", "monkey": "🐒",
    "frog": "🐸", "snake": "🐍", "turtle": "🐢", "fish": "🐟", "shark": "🦈", "octopus": "🐙",
    "whale": "🐳", "penguin": "🐧", "owl": "🦉", "duck": "🦆", "rooster": "🐓", "bee": "🐝",
    "butterfly": "🦋", "snail": "🐌", "crab": "🦀", "camel": "🐫", "giraffe": "🦒", "zebra": "🦓",
    "ladybug": "🐞", "fox": "🦊", "mouse": "🐁",
    # food
    "apple": "🍎", "banana": "🍌", "lemon": "🍋", "strawberry": "🍓", "pineapple": "🍍",
    "watermelon": "🍉", "pear": "🍐", "avocado": "🥑", "carrot": "🥕", "eggplant": "🍆",
    "mushroom": "🍄", "pizza": "🍕", "hamburger": "🍔", "cake": "🎂", "cookie": "🍪",
    "doughnut": "🍩", "egg": "🥚", "pumpkin": "🎃",
    # plants
    "tree": "🌳", "cactus": "🌵", "palm": "🌴", "sunflower": "🌻", "rose": "🌹", "tulip": "🌷",
    # vehicles
    "car": "🚗", "bus": "🚌", "truck": "🚚", "train": "🚂", "bicycle": "🚲", "motorcycle": "🏍",
    "tractor": "🚜", "helicopter": "🚁", "airplane": "✈", "rocket": "🚀", "sailboat": "⛵",
    "ship": "🚢",
    # objects
    "soccer_ball": "⚽", "guitar": "🎸", "drum": "🥁", "trumpet": "🎺", "violin": "🎻",
    "camera": "📷", "television": "📺", "laptop": "💻", "alarm_clock": "⏰", "key": "🔑",
    "padlock": "🔒", "hammer": "🔨", "umbrella": "☂", "book": "📕", "pencil": "✏",
    "gift": "🎁", "balloon": "🎈", "bell": "🔔", "light_bulb": "💡", "chair": "🪑",
    "top_hat": "🎩", "crown": "👑", "backpack": "🎒", "cup": "☕", "robot": "🤖", "house": "🏠",
    "castle": "🏰", "snowman": "⛄", "moon": "🌙", "sun": "☀", "cloud": "☁", "magnet": "🧲",
    "anchor": "⚓",
}  # fmt: skip
