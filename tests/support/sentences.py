"""Captions as people write them, several of each image, for the metrics of captions."""

from __future__ import annotations

IMAGES: list[list[str]] = [
    ["A man's dog isn't on the street.", "The dog of a man is not on a U.S. street!", "A dog"],
    ["Two girls (sisters) play with a red-and-white ball.", "Two sisters playing ball; it's fun"],
    ["A bus stop at 10:30, with 3,000 people waiting", "people can't find the bus", "A crowd..."],
    ["A woman in a T-shirt holds 2 cups of coffee", 'A woman with a sign "open" and a mug.'],
    ["Mr. Smith's café, No. 5, has a naïve painting", "a painting hangs in the café"],
    ["They'll cross the road: one -- a child -- runs ahead", "Children cross the road"],
    ["A cat cannot see the 4.5 inch screen", "the cat can't see a small screen", "a cat, a screen"],
    ["A clock shows five o'clock on the St. Mary's tower", "clock tower", "a tower with a clock"],
    ["I've seen the sheep; the sheep haven't seen me", "sheep in a field", "many sheep"],
    ["A pizza w/ cheese & olives", "a cheese pizza with olives on it", "Pizza - cheese, olives"],
    ["A boy and a girl and a boy and a girl", "two boys and two girls", "boy, girl"],
    ["a dog", "the dog", "dog!"],
]
CANDIDATES: list[str] = [
    "a dog is on the street",
    "two girls playing with a ball",
    "a crowd of people waiting for the bus",
    "a woman holding a cup of coffee",
    "a painting in a café",
    "a child runs across the road",
    "a cat looking at a screen",
    "a tower with a clock on it",
    "a field",
    "a cheese pizza with olives on it",
    "two boys and two girls and two dogs and two boys and two girls",
    "dog",
]
