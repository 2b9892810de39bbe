"""Words that stand in prompts anyway, so that they are bad triggers: common English and the vocabulary of prompts."""

ORDINARY = frozenset(
    """
    a about above adult after all an and angel animal anime arm armor art artist artwork at autumn baby background bad
    ball bar beach bear beautiful bed best bird black blade blonde blood blue blur blurry boat body book bottle box boy
    bright brown building bunny bus butterfly camera candle car card cartoon castle cat celebrity chair character chibi
    child church cinematic city clean close cloud clouds coat coffee cold color colors colour comic concept cool couple
    cute cyberpunk dance dark day deer demon depth desert design detail detailed devil digital dog doll door dragon
    drawing dream dress eagle earth elf evening eye eyes face fantasy fashion fat feather female field fire fish flag
    flat floor flower flowers fog food foot forest fox frame frog front full fur future galaxy game garden ghost girl
    glass glasses god gold golden grass gray green grey gun hair hand hands happy hat head heart hero high highres home
    horror horse hot house human ice illustration image in indoors ink iron island jacket king kitchen knife knight lady
    lake lamp land landscape large leaf leaves leg legs lens light lighting line lion lips little logo long looking love
    low machine magic male man map mask masterpiece mech men metal model modern monster moon morning mountain mouth
    movie mushroom music name nature neck negative neon night nose nude object ocean of oil old on one orange outdoors
    paint painting pants paper park pastel pattern pencil people person photo photograph photography picture pink pirate
    pixel place plant point pony portrait pose poster pretty prince princess purple quality queen rain rainbow realism
    realistic red render retro ring river road robe robot rock room rose ruins sad samurai sand scene school sculpture
    sea sexy shadow sharp ship shirt shoes short shot sketch skin skirt skull sky small smile smoke snake snow soft
    soldier solo space spider spring star stars stone street strong studio style summer sun sunset sword tail tall tank
    tea teacher text texture the tiger to toy train tree trees two ugly ultra uniform vampire vector vehicle vintage
    wall war warm warrior water watercolor wave weapon white wide wind window wing wings winter witch with wolf woman
    women wood word world worst wrong yellow young zombie
    """.split(),  # noqa: SIM905  # a table of words reads better as text
)
