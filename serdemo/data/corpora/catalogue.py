"""The known corpora: official file names, labels with their numbers of clips, licences, sizes."""

from __future__ import annotations

from serdemo.data.corpora import label_files
from serdemo.data.corpora.corpus import Corpus, Label, label_table, stem_pattern

RAVDESS_ACTORS = [f"{actor:02d}" for actor in range(1, 25)]
# The six speaker-independent folds of the EmoBox benchmark.
RAVDESS_FOLDS = (
    *("01 11 20 21", "04 10 12 14", "08 09 19 23"),
    *("03 05 07 24", "02 15 16 18", "06 13 17 22"),
)
CREMAD_ACTORS = set(range(1001, 1092))
# The rest of the 91 are men, by the corpus's own demographics table.
CREMAD_FEMALES = {
    *(1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025),
    *(1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060),
    *(1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091),
}
# As its own notes say; the first ten speak Mandarin.
ESD_FEMALES = {1, 2, 3, 7, 9, 15, 16, 17, 18, 19}
ESD_SPEAKERS = {number: f"{number:04d}" for number in range(1, 21)}
SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")

_KNOWN = (
    # RAVDESS, the speech part: audio-only (03), channel speech (01); even actors are women.
    Corpus(
        name="ravdess",
        title="RAVDESS (speech)",
        language="en",
        licence="CC BY-NC-SA 4.0",
        citation="Livingstone and Russo 2018, PLoS ONE 13(5) e0196391",
        homepage="https://zenodo.org/records/1188976",
        obtain="Download Audio_Speech_Actors_01-24.zip from Zenodo and unpack it as a folder ravdess.",
        folders=frozenset({"ravdess", "audio_speech_actors_01-24", "ravdess_speech"}),
        speakers=24,
        pattern=stem_pattern(r"03-01-(?P<label>0[1-8])-0[12]-0[12]-0[12]-(?P<speaker>[0-9]{2})"),
        labels=label_table(
            "01 neutral 96, 02 calm 192, 03 happy 192, 04 sad 192, 05 angry 192,"
            " 06 fearful 192, 07 disgust 192, 08 surprised 192"
        ),
        speaker_digits=2,
        females=frozenset(RAVDESS_ACTORS[1::2]),
        males=frozenset(RAVDESS_ACTORS[::2]),
        folds={
            actor: str(number)
            for number, actors in enumerate(RAVDESS_FOLDS, start=1)
            for actor in actors.split()
        },
        protocol="the six speaker folds of the EmoBox benchmark (--by fold)",
    ),
    # CREMA-D: twelve sentences, six emotions, 91 actors.
    Corpus(
        name="cremad",
        title="CREMA-D",
        language="en",
        licence="ODbL 1.0",
        citation="Cao et al. 2014, IEEE Trans. Affective Computing 5(4)",
        homepage="https://github.com/CheyneyComputerScience/CREMA-D",
        obtain="Clone the CREMA-D repository with Git LFS and keep its AudioWAV folder as cremad.",
        folders=frozenset({"cremad", "crema-d", "crema_d", "audiowav", "crema-d-master"}),
        speakers=91,
        # The strength is LO, MD, HI or XX, and once a single X (1040_ITH_SAD_X).
        pattern=stem_pattern(
            r"(?P<speaker>10[0-9]{2})_[A-Z]{3}_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX?)"
        ),
        labels=label_table(
            "ANG anger 1271, DIS disgust 1271, FEA fear 1271, HAP happy 1271,"
            " NEU neutral 1087, SAD sad 1271"
        ),
        speaker_digits=4,
        females=frozenset(map(str, CREMAD_FEMALES)),
        males=frozenset(map(str, CREMAD_ACTORS - CREMAD_FEMALES)),
    ),
    # EMO-DB, the Berlin database: speaker, text, German emotion letter, version.
    Corpus(
        name="emodb",
        title="EMO-DB",
        language="de",
        licence="free for research, licence text unverified",
        citation="Burkhardt et al. 2005, Interspeech",
        homepage="http://emodb.bilderbar.info",
        obtain="Download the archive from the EMO-DB site and unpack its wav folder as emodb.",
        folders=frozenset({"emodb", "emo-db", "emo_db", "berlin"}),
        speakers=10,
        pattern=stem_pattern(r"(?P<speaker>[0-9]{2})[ab][0-9]{2}(?P<label>[WLEAFTN])[a-z]?"),
        labels=label_table(
            "W Wut 127, L Langeweile 81, E Ekel 46, A Angst 69, F Freude 71, T Trauer 62,"
            " N neutral 79"
        ),
        speaker_digits=2,
        females=frozenset({"08", "09", "13", "14", "16"}),
        males=frozenset({"03", "10", "11", "12", "15"}),
    ),
    # nEMO: ninety Polish sentences in six emotions, nine actors.
    Corpus(
        name="nemo",
        title="nEMO",
        language="pl",
        licence="CC BY-NC-SA 4.0",
        citation="Christop 2024, LREC-COLING",
        homepage="https://github.com/amu-cai/nEMO",
        obtain="Clone the nEMO repository and keep its samples folder as nemo.",
        folders=frozenset({"nemo", "nemo-main", "nemo-samples"}),
        speakers=9,
        pattern=stem_pattern(
            r"(?P<speaker>[A-Z]{2}[0-9])_"
            r"(?P<label>anger|fear|happiness|neutral|sadness|surprised)_[0-9]+"
        ),
        labels=label_table(
            "ANGER anger 749, FEAR fear 736, HAPPINESS happiness 749, NEUTRAL neutral 809,"
            " SADNESS sadness 769, SURPRISED surprised 669"
        ),
        females=frozenset({"IC0", "KD0", "MK0"}),
        males=frozenset({"MP0", "SM0", "TP0", "WR0"}),
    ),
    # ASED, Amharic: emotion, sentence, repetition, gender (01 female, 02 male), speaker.
    Corpus(
        name="ased",
        title="ASED",
        language="am",
        licence="unverified",
        citation="Retta et al. 2023 (Amharic Speech Emotion Dataset)",
        homepage="https://github.com/Ethio2021/ASED_V1",
        obtain="Clone the ASED_V1 repository and keep it as a folder ased.",
        folders=frozenset({"ased", "ased_v1", "ased-v1", "ased_v1-main"}),
        speakers=65,
        # The fourth number is the gender, but five speakers have it both ways: it is not read.
        pattern=stem_pattern(
            r"(?P<label>n1|f2|h3|s4|a5)-[0-9]{2}-[0-9]{2}-[0-9]{2}-(?P<speaker>[0-9]{2})"
        ),
        labels=label_table("N1 neutral 522, F2 fear 510, H3 happy 486, S4 sad 470, A5 angry 486"),
        speaker_digits=2,
    ),
    # AESDD, Greek: emotion letter, utterance number, speaker in parentheses or after a hyphen.
    Corpus(
        name="aesdd",
        title="AESDD",
        language="el",
        licence="free for research, licence text unverified",
        citation="Vryzas et al. 2018, J. Audio Eng. Soc. 66(6)",
        homepage="https://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
        obtain="Download the archive from the AESDD page and unpack it as a folder aesdd.",
        folders=frozenset({"aesdd", "acted emotional speech dynamic database"}),
        speakers=6,
        # a01 (1), a01-1, d03-01, and second takes such as s01-5b.
        pattern=stem_pattern(r"(?P<label>[adfhs])[0-9]{2}[ _(-]+0?(?P<speaker>[1-9])[ab]?\)?[ab]?"),
        labels=label_table(
            "A anger 121, D disgust 122, F fear 120, H happiness 119, S sadness 123"
        ),
        speaker_prefix="spk",
        speaker_digits=1,
    ),
    # URDU: talk shows of Pakistani television; the speaker's id starts with SM (men) or SF (women).
    Corpus(
        name="urdu",
        title="URDU",
        language="ur",
        licence="research only",
        citation=(
            "Latif et al. 2018, Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages"
        ),
        homepage="https://github.com/siddiquelatif/URDU-Dataset",
        obtain="Clone the URDU-Dataset repository and keep it as a folder urdu.",
        folders=frozenset({"urdu", "urdu-dataset", "urdu-dataset-master"}),
        speakers=29,
        pattern=stem_pattern(r"(?P<speaker>S[MF][0-9]{1,2})_F[0-9]+_(?P<label>[AHNS])[0-9]+"),
        labels=label_table("A angry 100, H happy 100, N neutral 100, S sad 100"),
        females=frozenset(f"SF{number}" for number in range(1, 13)),
        males=frozenset(f"SM{number}" for number in range(1, 28)),
    ),
    # IEMOCAP: five sessions of two actors; labels lie in dialog/EmoEvaluation, by dialogue.
    Corpus(
        name="iemocap",
        title="IEMOCAP (4 classes)",
        language="en",
        licence="signed release form, research only",
        citation="Busso et al. 2008, Language Resources and Evaluation 42(4)",
        homepage="https://sail.usc.edu/iemocap/",
        obtain=(
            "Ask USC's SAIL for it with their release form, and keep Session1 to Session5 as a folder"
            " iemocap: sentences/wav and dialog/EmoEvaluation, where the labels are."
        ),
        folders=frozenset({"iemocap", "iemocap_full_release"}),
        speakers=10,
        # Of the prefix, F or M says who wore the motion sensors, not who speaks.
        pattern=stem_pattern(r"Ses0(?P<fold>[1-5])[FM]_(?:impro|script)\w+_[FM][0-9]{3}"),
        # The usual four classes; frustration, the rarer ones and clips without a majority are left out.
        labels={
            **label_table("ANG anger 1103, HAP happiness 595, NEU neutral 1708, SAD sadness 1084"),
            "EXC": Label("excited", "happy", 1041),
        },
        females=frozenset(f"SES0{session}F" for session in range(1, 6)),
        males=frozenset(f"SES0{session}M" for session in range(1, 6)),
        annotate=label_files.iemocap,
        protocol="leave one session out (--by session); happy and excited are one class",
    ),
    # CASIA, the public part: speaker and emotion are folders, the file name is the sentence.
    Corpus(
        name="casia",
        title="CASIA",
        language="zh",
        licence="by licence from its makers, text unverified",
        citation="CASIA Chinese emotional corpus, Chinese Academy of Sciences",
        homepage="http://shachi.org/resources/27",
        obtain=(
            "Ask the Institute of Automation of the Chinese Academy of Sciences for the 1200 clips of"
            " public use (50 sentences; the whole has 9600), and keep the four speakers' folders, as"
            " liuchanhg/angry/201.wav, as a folder casia."
        ),
        folders=frozenset({"casia", "casia database", "casia-master"}),
        speakers=4,
        pattern=stem_pattern(
            r"(?P<speaker>liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)/"
            r"(?P<label>angry|fear|happy|neutral|sad|surprise)/[0-9]+"
        ),
        labels=label_table(
            "ANGRY angry 200, FEAR fear 200, HAPPY happy 200, NEUTRAL neutral 200,"
            " SAD sad 200, SURPRISE surprise 200"
        ),
        protocol="leave one speaker out (--by speaker), which EmoBox's four folds are too",
    ),
    # ShEMO, Persian radio plays: speaker with gender letter, emotion letter, number.
    Corpus(
        name="shemo",
        title="ShEMO",
        language="fa",
        licence="free for academic use",
        citation="Mohamad Nezami et al. 2019, Language Resources and Evaluation 53(1)",
        homepage="https://github.com/pariajm/sharif-emotional-speech-dataset",
        obtain=(
            "Download female.zip and male.zip as its page says and unpack both in a folder shemo; a"
            " public correction of its labels is modified_shemo.json of"
            " https://github.com/aliyzd95/modified_shemo, used by shemo?labels=modified_shemo.json."
        ),
        folders=frozenset({"shemo", "shemo-master", "sharif-emotional-speech-dataset"}),
        speakers=87,
        pattern=stem_pattern(r"(?P<speaker>[FM][0-9]{2})(?P<label>[AFHNSW])[0-9]{2,3}"),
        labels=label_table(
            "A anger 1059, F fear 38, H happiness 201, N neutral 1028, S sadness 449,"
            " W surprise 225"
        ),
        females=frozenset(f"F{number:02d}" for number in range(1, 32)),
        males=frozenset(f"M{number:02d}" for number in range(1, 57)),
        protocol="leave speakers out (--by speaker); its usual five classes are shemo?drop=fear",
    ),
    # ESD: ten speakers of Mandarin and ten of English say the same 350 sentences in five emotions.
    Corpus(
        name="esd",
        title="ESD",
        language="zh, en",
        licence="research only",
        citation="Zhou et al. 2021, ICASSP, doi:10.1109/ICASSP39728.2021.9413391",
        homepage="https://hltsingapore.github.io/ESD/",
        obtain=(
            "Follow the download link of its page, and keep the speakers' folders 0001 to 0020, as"
            " 0011/Angry/0011_000351.wav, as a folder esd."
        ),
        folders=frozenset({"esd", "emotional speech dataset (esd)", "emotion speech dataset"}),
        speakers=20,
        pattern=stem_pattern(
            r"(?P<speaker>00(?:0[1-9]|1[0-9]|20))/(?P<label>angry|happy|neutral|sad|surprise)/"
            r"(?:(?P<fold>train|evaluation|test)/)?(?P=speaker)_[0-9]{6}"
        ),
        labels=label_table(
            "ANGRY Angry 7000, HAPPY Happy 7000, NEUTRAL Neutral 7000, SAD Sad 7000,"
            " SURPRISE Surprise 7000"
        ),
        speaker_digits=4,
        females=frozenset(ESD_SPEAKERS[number] for number in ESD_FEMALES),
        males=frozenset(ESD_SPEAKERS[number] for number in ESD_SPEAKERS.keys() - ESD_FEMALES),
        languages={name: "zh" if number <= 10 else "en" for number, name in ESD_SPEAKERS.items()},
        protocol=(
            "leave one speaker out (--by speaker): its own parts train, evaluation and test share"
            " their speakers, so --by fold refuses them"
        ),
    ),
    # SAVEE: four men; the speaker is a folder or a prefix, then emotion letters and a number.
    Corpus(
        name="savee",
        title="SAVEE",
        language="en",
        licence="free for research after registration, licence text unverified",
        citation="Haq and Jackson 2010, Multimodal Emotion Recognition, in Machine Audition",
        homepage="http://kahlan.eps.surrey.ac.uk/savee/",
        obtain="Register on the SAVEE page, and keep AudioData, as DC/a01.wav, as a folder savee.",
        folders=frozenset({"savee", "savee database"}),
        speakers=4,
        pattern=stem_pattern(
            rf"(?P<speaker>{'|'.join(SAVEE_SPEAKERS)})[/_](?P<label>sa|su|[adfhn])[0-9]{{2}}"
        ),
        labels=label_table(
            "A anger 60, D disgust 60, F fear 60, H happiness 60, N neutral 120,"
            " SA sadness 60, SU surprise 60"
        ),
        males=frozenset(SAVEE_SPEAKERS),
        protocol="leave one speaker out (--by speaker), which EmoBox's four folds are too",
    ),
    # TESS: two women, older (OAF) and younger (YAF), say 200 words in seven emotions.
    Corpus(
        name="tess",
        title="TESS",
        language="en",
        licence="CC BY-NC-ND 4.0",
        citation="Pichora-Fuller and Dupuis 2020, Toronto emotional speech set (TESS)",
        homepage="https://tspace.library.utoronto.ca/handle/1807/24487",
        obtain="Download the archive from the University of Toronto and unpack it as a folder tess.",
        folders=frozenset({"tess", "tess toronto emotional speech set data"}),
        speakers=2,
        # One clip is misnamed: OA_bite_neutral.
        pattern=stem_pattern(
            r"(?P<speaker>[OY]A)F?_[a-z]+_(?P<label>angry|disgust|fear|happy|neutral|ps|sad)"
        ),
        labels=label_table(
            "ANGRY anger 400, DISGUST disgust 400, FEAR fear 400, HAPPY happiness 400,"
            " NEUTRAL neutral 400, PS pleasant surprise 400, SAD sadness 400"
        ),
        speaker_aliases={"OA": "OAF", "YA": "YAF"},
        females=frozenset({"OAF", "YAF"}),
    ),
    # EMOVO, Italian: emotion, actor with gender letter, sentence.
    Corpus(
        name="emovo",
        title="EMOVO",
        language="it",
        licence="free for research, licence text unverified",
        citation="Costantini et al. 2014, LREC",
        homepage="http://voice.fub.it/activities/corpora/emovo/index.html",
        obtain="Download the archive from the EMOVO page and unpack it as a folder emovo.",
        folders=frozenset({"emovo"}),
        speakers=6,
        pattern=stem_pattern(
            r"(?P<label>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>[fm][1-3])-[bdln][0-9]"
        ),
        labels=label_table(
            "DIS disgusto 84, GIO gioia 84, NEU neutrale 84, PAU paura 84, RAB rabbia 84,"
            " SOR sorpresa 84, TRI tristezza 84"
        ),
        females=frozenset({"F1", "F2", "F3"}),
        males=frozenset({"M1", "M2", "M3"}),
    ),
    # TurEV-DB, Turkish words: the emotion is a folder; speaker number, emotion code, word.
    Corpus(
        name="turevdb",
        title="TurEV-DB",
        language="tr",
        licence="unverified",
        citation="Canpolat et al. 2020, SLTU-CCURL",
        homepage="https://github.com/Xeonen/TurEV-DB",
        obtain=(
            "Clone the TurEV-DB repository and keep its folder Sound Source, as"
            " Calm/1984_sk_eger.wav, as a folder turevdb."
        ),
        folders=frozenset({"turevdb", "turev-db", "turev-db-master", "sound source"}),
        speakers=6,
        pattern=stem_pattern(
            r"(?P<label>angry|calm|happy|sad)/(?P<speaker>[0-9]{4})_[a-z]{2}_[^/]+"
        ),
        labels=label_table("ANGRY Angry 487, CALM Calm 408, HAPPY Happy 357, SAD Sad 483"),
        speaker_digits=4,
    ),
    # MSP-Podcast: label, speaker, gender and official part are in Labels/labels_consensus.csv.
    Corpus(
        name="msppodcast",
        title="MSP-Podcast",
        language="en",
        licence="signed agreement, research only, terms differ by institution",
        citation="Lotfian and Busso 2019, IEEE Trans. Affective Computing 10(4)",
        homepage="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
        obtain=(
            "Have your institution sign the agreement of the MSP lab of UT Dallas, and keep Audios and"
            " Labels (labels_consensus.csv) as a folder msppodcast. Each release is larger; what the"
            " labels file lists is expected."
        ),
        folders=frozenset({"msppodcast", "msp-podcast", "msp_podcast"}),
        speakers=0,
        pattern=stem_pattern(r"MSP-PODCAST_[0-9]{4}(?:_[0-9]{4}){1,2}"),
        # Contempt (C), other (O) and no agreement (X) are left out.
        labels=label_table(
            "A angry 0, D disgust 0, F fear 0, H happy 0, N neutral 0, S sad 0, U surprise 0"
        ),
        annotate=label_files.msppodcast,
        protocol="its own parts Train, Development, Test1 and so on are the folds (--by fold)",
    ),
)

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _KNOWN}
