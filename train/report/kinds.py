"""What each kind of finding means, what to do about it, and what edge-train does with it: for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from train.dataset.findings import Kind


@dataclass(frozen=True)
class About:
    """A kind of finding in words."""

    one: str
    """What one is called."""
    many: str
    """What several are called."""
    meaning: str
    """Why it matters."""
    advice: str
    """What a person can do."""
    training: str
    """What edge-train does with it; the sentence goes on from "edge-train"."""
    single: bool = True
    """Whether files are counted one by one; else a finding counts as one, whatever number of files it has."""
    pictured: bool = True
    """Whether there may be something to see."""


ABOUT: Mapping[Kind, About] = {
    Kind.UNREADABLE: About(
        "file that can't be read",
        "files that can't be read",
        "The file is empty, cut short, or no picture at all, as after a copy that broke off or on a failing card. "
        "A few are bad luck; more than 5 % mean that something happened to the whole data set.",
        "Copy them again from where they came, or delete them.",
        "leaves them out.",
    ),
    Kind.LABEL_CONFLICT: About(
        "picture in more than one class",
        "pictures in more than one class",
        "Whatever the network answers here is counted as wrong, and while it trains it is told to doubt itself.",
        "Look at each, decide which class is right, and delete the other copy. Where both seem right, the two "
        "classes overlap and need a rule that says which is which.",
        "leaves every copy out.",
        single=False,
    ),
    Kind.SPLIT_LEAK: About(
        "picture in more than one split",
        "pictures in more than one split",
        "The network is judged on a picture that it was trained on. The accuracy looks better than the one that "
        "the bin will have.",
        "Keep one copy, in the split that judges, and delete the others.",
        "keeps such a picture in one split only: in test before validation, in validation before train.",
        single=False,
    ),
    Kind.TOO_FEW: About(
        "class with too few photos",
        "classes with too few photos",
        "Each class needs a photo that trains, one that validates and one that judges, and all of them different.",
        "Add photos, or remove the folder.",
        "stops, and names the class.",
        single=False,
        pictured=False,
    ),
    Kind.SUSPECT_LABEL: About(
        "photo whose label looks wrong",
        "photos whose labels look wrong",
        "All the other photos together say that these belong to another class. Some will be mistakes of whoever "
        "sorted them, others just unusual.",
        "Look at them, the most suspect come first, and move those that lie in the wrong folder.",
        "trains on them as they are.",
    ),
    Kind.SHORTCUT: About(
        "shortcut",
        "shortcuts",
        "Size, compression, format, camera or brightness alone give the class away. A network may learn that in "
        "place of the object, score well here, and fail in front of the bin's own camera.",
        "Take photos of every class with the same camera, in the same places and the same light.",
        "trains all the same. Its test accuracy then says little about the bin.",
        single=False,
    ),
    Kind.IMBALANCE: About(
        "imbalance between classes",
        "imbalances between classes",
        "A class with few photos is learned less well, and a good overall accuracy hides it.",
        "Add photos to the small classes; they are worth far more there than in the large ones.",
        "trains as --imbalance says: with the classes weighed, with small ones drawn more often, or neither.",
        single=False,
    ),
    Kind.DUPLICATE: About(
        "set of copies",
        "sets of copies",
        "These files of one class decode to the very same pixels. They do no harm, but they are fewer photos than "
        "they seem to be.",
        "Delete all but one of each set, or leave them.",
        "keeps a set together in one split, so that no copy judges what another one taught.",
        single=False,
    ),
    Kind.NEAR_DUPLICATE: About(
        "set of near copies",
        "sets of near copies",
        "These files of one class show one picture: encoded again, resized, cropped, mirrored or turned. The "
        "network learns little from the second one.",
        "Keep the best of each set, or leave them.",
        "keeps a set together in one split, so that no copy judges what another one taught.",
        single=False,
    ),
    Kind.KEPT: About(
        "remark on kept deposits",
        "remarks on kept deposits",
        "A bin kept these pictures since it was unsure, or by chance. What it took them for is no label: learning "
        "from its own answers would only make it surer of its mistakes. How often it was right on those that "
        "chance chose is how good it is where it stands.",
        "Look at them, and move each into the folder of its class; delete those that show people.",
        "leaves out what has no label, and takes the others as photos like all.",
        single=False,
        pictured=False,
    ),
    Kind.IGNORED: About(
        "file that was not looked at",
        "files that were not looked at",
        "They lie among the photos, but their ending is none that we read: notes, videos, or photos of another "
        "format, such as the HEIC of many phones.",
        "Convert photos to JPEG or PNG, so that they count. The rest may stay.",
        "does not look at them either.",
        pictured=False,
    ),
    Kind.WRONG_ENDING: About(
        "file under a wrong ending",
        "files under a wrong ending",
        "The content is of another format than the name says. We go by the content; other programs may not.",
        "Rename them, if other programs are to read them.",
        "reads them by their content.",
    ),
    Kind.ANIMATED: About(
        "file of several frames",
        "files of several frames",
        "An animation or a file of many pages. What it shows after the first frame is never seen.",
        "Save the frames that matter as files of their own.",
        "uses the first frame.",
    ),
    Kind.TINY: About(
        "tiny picture",
        "tiny pictures",
        "Enlarged to what the network takes in, they are a blur that no bin's camera would make.",
        "Find the originals, or delete them.",
        "trains on them as they are.",
    ),
    Kind.HUGE: About(
        "huge picture",
        "huge pictures",
        "Decoding one takes longer than training on it, and that in every epoch.",
        "Scale them down once; 1,000 pixels on the short side are plenty.",
        "decodes and scales them down in every epoch.",
    ),
    Kind.GREY: About(
        "picture without colour",
        "pictures without colour",
        "Among photos in colour, and with most of them in one class, missing colour may come to stand for it.",
        "Find the originals in colour, or see that no class has most of them.",
        "trains on them as they are.",
    ),
}


def tell(kind: Kind, count: int) -> str:
    """Return for example "3 tiny pictures"."""
    return f"{count:,} {ABOUT[kind].one if count == 1 else ABOUT[kind].many}"
